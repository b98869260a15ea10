"""From a file and an environment to checked values, with the origin of each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Any

from marshmallow import ValidationError

from ..errors import ConfigError
from .checking import check_core, check_section
from .document import Document, read_document
from .layers import DEFAULT, Layers, Origin, dotted, leaves
from .laying import gather_secrets, lay, plain
from .problems import Problems
from .schema import CONFIGURATION, PluginsSection
from .tree import Sections, instance, names
from .variables import PREFIX


@dataclass(frozen=True, slots=True)
class Resolved:
    """A configuration that was checked, still in the shape of the file.

    :param values: all keys but those of plugins' sections, defaults filled in.
    :param sections: plugins' sections, as their schemas load them.
    :param written: plugins' sections as they were written.
    """

    values: Mapping[str, Any]
    sections: Mapping[str, Any]
    written: Mapping[str, Any]
    origins: Mapping[str, Origin]
    secrets: frozenset[str]
    source: FilePath | None


def resolve(path: FilePath | str | None, environ: Mapping[str, str] | None, sections: Sections) -> Resolved:
    """Read and check everything; see `maester.config.load` for the parameters.

    :raises ConfigError: with every problem that was found.
    """
    environ = os.environ if environ is None else environ
    problems = Problems()
    own = [name for name in sections if name in names(CONFIGURATION)]
    if own:
        raise ConfigError(
            f"A plugin declares the settings section [{own[0]}], which is one of Maester's own."
        )
    document = read_document(path, environ)
    # A plugin may be disabled without its section having to go: that is then not looked into.
    off = {name: None for name in _disabled(document, environ) if name not in names(CONFIGURATION)}
    sections = {**off, **sections}
    layers = lay(document, environ, sections, problems)
    gather_secrets(layers, sections, problems)
    tables = {key: value if key == "prices" else plain(value) for key, value in layers.values.items()}
    own_tables = {key: value for key, value in tables.items() if key not in sections}
    values = check_core(own_tables, sections, layers, problems)
    loaded = {name: check_section(name, tables, sections, layers, problems) for name in sections}
    problems.raise_any(str(document.source) if document else None)
    written = {name: tables[name] for name in sections if name in tables}
    return Resolved(
        values,
        {name: value for name, value in loaded.items() if value is not None},
        written,
        _origins({**values, **written}, layers),
        frozenset(problems.secrets),
        document.source if document else None,
    )


def disabled_plugins(
    path: FilePath | str | None = None, environ: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """The plugins that are not to be loaded, which has to be known before the rest can be checked.

    A wrong ``[plugins]`` disables nothing: `load` will say what is wrong with it.

    :raises ConfigError: if the file cannot be read at all.
    """
    environ = os.environ if environ is None else environ
    return _disabled(read_document(path, environ), environ)


def _disabled(document: Document | None, environ: Mapping[str, str]) -> tuple[str, ...]:
    """What ``[plugins]`` disables, whatever else there is."""
    if document is not None:
        document = replace(document, values={k: v for k, v in document.values.items() if k == "plugins"})
    ours = {k: v for k, v in environ.items() if not k.startswith(PREFIX) or k.startswith(f"{PREFIX}PLUGINS")}
    layers = lay(document, ours, {}, Problems())
    try:
        return tuple(instance(PluginsSection).load(layers.values.get("plugins", {}))["disabled"])
    except ValidationError:
        return ()


def _origins(values: Mapping[str, Any], layers: Layers) -> dict[str, Origin]:
    return {
        dotted(path): layers.origins.get(path, DEFAULT)
        for path, _ in leaves(values)
        if all(isinstance(part, str) for part in path)
    }
