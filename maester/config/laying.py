"""Laying the sources of the configuration over one another."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from decimal import Decimal
from typing import Any

from .document import Document
from .interpolation import interpolate
from .layers import Layers, Origin, Path, leaves
from .masking import SECRET_NAME, secrets_of
from .problems import Problems
from .provider_schema import TYPES
from .tree import Node, NoSuchKey, Sections, find, from_text, is_secret
from .usual import lay_types, lay_usual
from .variables import lay_variables


def lay(
    document: Document | None, environ: Mapping[str, str], sections: Sections, problems: Problems
) -> Layers:
    """The file, ``MAESTER_*`` over it, and below both the variables that providers usually have.

    :param document: the file, if there is one.
    :param sections: what plugins declare.
    :param problems: takes what is wrong with variables and references to them.
    """
    layers = Layers()
    if document is not None:
        layers.put((), deepcopy(document.values), document.origin)
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
        _replace(layers.values, path, from_text(node_at(sections, path), done.text))
        layers.origins[path] = Origin(origin.file, origin.line, variable)


def _is_off(layers: Layers, path: Path) -> bool:
    """Whether the value belongs to a provider that is switched off, and so is not needed."""
    return path[0] == "providers" and layers.get((*path[:2], "enabled")) is False


def node_at(sections: Sections, path: Path) -> Node:
    """What the schema has under a path; ``None`` where it has nothing or anything goes."""
    try:
        return find(sections, path)
    except NoSuchKey:
        return None


def _replace(values: Any, path: Path, value: Any) -> None:
    for key in path[:-1]:
        values = values[key]
    values[path[-1]] = value


def gather_secrets(layers: Layers, sections: Sections, problems: Problems) -> None:
    """Learn which values must not be shown, before anything that is wrong is described."""
    for path, value in leaves(layers.values):
        if not isinstance(value, str) or not value:
            continue
        name = next((str(part) for part in reversed(path) if isinstance(part, str)), "")
        if is_secret(node_at(sections, path), name):
            problems.secrets.add(value)
        else:
            problems.secrets |= secrets_of("", value)


def plain(value: Any) -> Any:
    """Values with floats for the exact decimals that only prices need."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value
