"""From a file and an environment to checked values, with the origin of each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any

from marshmallow import ValidationError, fields

from ..errors import ConfigError
from .document import Document, read_document
from .fields import UNKNOWN
from .interpolation import interpolate
from .layers import Layers, Origin, Path, dotted, leaves
from .masking import SECRET_NAME, secrets_of
from .prices import repeated
from .problems import Problems, nearest_name
from .schema import CONFIGURATION, TYPES, PluginsSection
from .tree import Node, NoSuchKey, Sections, child, find, from_text, instance, is_secret, is_table, names
from .usual import lay_types, lay_usual
from .variables import lay_variables

_UNKNOWN_FIELD = "Unknown field."
"""Marshmallow's own words for an unknown key, in the schemas of plugins."""


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
    origins: Mapping[str, str]
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
    layers = _lay(document, environ, sections, problems)
    _gather_secrets(layers, sections, problems)
    plain = {key: value if key == "prices" else _plain(value) for key, value in layers.values.items()}
    values = _check_core({k: v for k, v in plain.items() if k not in sections}, sections, layers, problems)
    loaded = {name: _check_section(name, plain, sections, layers, problems) for name in sections}
    problems.raise_any(str(document.source) if document else None)
    written = {name: plain[name] for name in sections if name in plain}
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
    layers = _lay(read_document(path, environ), environ, {}, Problems())
    try:
        return tuple(instance(PluginsSection).load(layers.values.get("plugins", {}))["disabled"])
    except ValidationError:
        return ()


def _lay(
    document: Document | None, environ: Mapping[str, str], sections: Sections, problems: Problems
) -> Layers:
    layers = Layers()
    if document is not None:
        layers.put((), document.values, document.origin)
    lay_variables(layers, environ, sections, problems)
    _interpolate(layers, environ, sections, problems)
    lay_usual(layers, environ)
    lay_types(layers, TYPES)
    return layers


def _interpolate(layers: Layers, environ: Mapping[str, str], sections: Sections, problems: Problems) -> None:
    """Replace the references in the file's strings, each as the type that belongs in its place."""
    for path, value in list(leaves(layers.values)):
        origin = layers.origin(path)
        if not isinstance(value, str) or "${" not in value or origin.file is None:
            continue
        done = interpolate(value, environ)
        problems.secrets |= {environ[name] for name in done.used if SECRET_NAME.search(name)}
        for name in done.missing:
            if not _is_off(layers, path):
                message = (
                    f"needs the environment variable {name}, which is not set; set it, or give a default:"
                )
                problems.add(path, origin, f"{message} ${{{name}:-default}}")
        for reference in done.malformed:
            message = f"{reference} is no reference to a variable; write ${{NAME}}, ${{NAME:-default}},"
            problems.add(path, origin, f"{message} or $${{ for a plain ${{")
        if done.missing or done.malformed:
            _replace(layers.values, path, None)
            continue
        variable = ", ".join(dict.fromkeys(done.used)) or None
        _replace(layers.values, path, from_text(_node(sections, path), done.text))
        layers.origins[path] = Origin(origin.file, origin.line, variable)


def _is_off(layers: Layers, path: Path) -> bool:
    """Whether the value belongs to a provider that is switched off, and so is not needed."""
    return path[0] == "providers" and layers.get((*path[:2], "enabled")) is False


def _node(sections: Sections, path: Path) -> Node:
    try:
        return find(sections, path)
    except NoSuchKey:
        return None


def _replace(values: Any, path: Path, value: Any) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


def _at(values: Any, path: Path) -> Any:
    """The value at a path through tables and lists; ``None`` where there is none."""
    for key in path:
        try:
            values = values[key]
        except (KeyError, IndexError, TypeError):
            return None
    return values


def _gather_secrets(layers: Layers, sections: Sections, problems: Problems) -> None:
    for path, value in leaves(layers.values):
        if not isinstance(value, str) or not value:
            continue
        name = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
        if is_secret(_node(sections, path), name):
            problems.secrets.add(value)
        else:
            problems.secrets |= secrets_of("", value)


def _plain(value: Any) -> Any:
    """Values with floats for the exact decimals that only prices need."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


def _check_core(
    values: Mapping[str, Any], sections: Sections, layers: Layers, problems: Problems
) -> dict[str, Any]:
    try:
        checked: dict[str, Any] = CONFIGURATION.load(values)
    except ValidationError as exc:
        for path, message in _flatten(exc.messages, CONFIGURATION, ()):
            _report(path, message, sections, layers, problems)
        return {}
    for index, first, units in repeated(checked["prices"]):
        message = f"says again what prices[{first}] says of {', '.join(units)}; keep one of the two"
        problems.add(("prices", index), layers.origin(("prices", index)), message)
    return checked


def _check_section(
    name: str, plain: Mapping[str, Any], sections: Sections, layers: Layers, problems: Problems
) -> Any:
    """A plugin's section as its schema loads it.

    What a plugin insists on is its own matter as long as nobody names its section: then there is
    no value, and no problem.
    """
    declared = sections[name]
    written = plain.get(name, {})
    if declared is None:
        return written if name in plain else None
    schema = instance(declared)
    try:
        return schema.load(written)
    except ValidationError as exc:
        for path, message in _flatten(exc.messages, schema, (name,)) if name in plain else ():
            _report(path, message, sections, layers, problems)
    except Exception as exc:  # noqa: BLE001 - a plugin's schema runs foreign code
        if name in plain:
            message = f"could not be checked: the plugin's schema raised {type(exc).__name__}: {exc}"
            problems.add((name,), layers.origin((name,)), message)
    return None


def _flatten(messages: Any, node: Node, path: Path) -> Iterator[tuple[Path, str]]:
    """Marshmallow's nested messages, one by one with the path that each is about."""
    if not isinstance(messages, Mapping):
        for message in messages if isinstance(messages, list) else [messages]:
            if isinstance(message, Mapping):
                yield from _flatten(message, node, path)
            else:
                yield path, str(message)
        return
    for key, inner in messages.items():
        if key == "_schema":
            yield from _flatten(inner, node, path)
        elif isinstance(node, fields.Mapping) and isinstance(inner, Mapping) and inner.keys() <= _SIDES:
            yield from _flatten(inner.get("key", []), None, (*path, key))
            yield from _flatten(inner.get("value", []), node.value_field, (*path, key))
        else:
            try:
                below = child(node, key)
            except NoSuchKey:
                below = None
            yield from _flatten(inner, below, (*path, key))


_SIDES = frozenset({"key", "value"})


def _report(path: Path, message: str, sections: Sections, layers: Layers, problems: Problems) -> None:
    origin = layers.origin(path)
    name = str(path[-1]) if path else ""
    if message in (UNKNOWN, _UNKNOWN_FIELD):
        known = names(_node(sections, path[:-1])) if path[:-1] else [*names(CONFIGURATION), *sections]
        near = nearest_name(name, known)
        nearest = dotted((*path[:-1], near)) if near else None
        if len(path) == 1 and nearest is None:
            message = f"{UNKNOWN}, and no plugin that is loaded declares a section of that name"
        elif nearest is None and known:
            message = f"{UNKNOWN}; known are {', '.join(known)}"
        else:
            message = UNKNOWN
        problems.add(path, origin, message, nearest=nearest)
        return
    value = _at(layers.values, path)
    node = _node(sections, path)
    found = None
    if value is not None and not isinstance(value, dict if is_table(node) else ()):
        hidden = is_secret(node, name) and isinstance(value, str) and value
        found = "a secret that is not shown" if hidden else problems.describe(value)
    if path[:1] in (("providers",), ("models",)) and len(path) == 2 and isinstance(value, dict):
        found = problems.describe(name) if "name" in message else None
    problems.add(path, origin, message, found=found)


def _origins(values: Mapping[str, Any], layers: Layers) -> dict[str, str]:
    return {
        dotted(path): str(layers.origins.get(path, Origin()))
        for path, _ in leaves(values)
        if all(isinstance(part, str) for part in path)
    }
