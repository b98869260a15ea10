"""``MAESTER_*``: environment variables that win over the file.

Every key can be reached: ``MAESTER_SERVER__PORT`` is ``server.port``, two underscores between the
parts. A part that is a name of the user's choice is compared without regard to case and punctuation,
so that ``MAESTER_MODELS__GPT_4_1__PROVIDER`` reaches ``[models."gpt-4.1"]``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from marshmallow import fields

from .document import FILE_VARIABLE
from .layers import Layers, Origin, Path
from .masking import secrets_of
from .problems import Problems, nearest_name
from .provider_schema import TYPES
from .schema import CONFIGURATION
from .tree import Node, NoSuchKey, Sections, child, from_text, names, settings, top

PREFIX = "MAESTER_"

DIRECT: Mapping[str, Path] = {
    "MAESTER_HOST": ("server", "host"),
    "MAESTER_PORT": ("server", "port"),
    "MAESTER_WORKERS": ("server", "workers"),
    "MAESTER_LEDGER_URL": ("ledger", "url"),
    "MAESTER_LOG_LEVEL": ("log", "level"),
    "MAESTER_CAPTURE": ("log", "capture"),
    "MAESTER_REDIS_URL": ("jobs", "redis_url"),
}
"""Short names of what is set most often."""

NOT_SETTINGS = frozenset({FILE_VARIABLE, "MAESTER_KEY"})
"""Variables of Maester's that are no setting of the file."""

_SERVICE_LINK = re.compile(
    r"MAESTER_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)"
)
_SERVICE_ADDRESS = re.compile(r"(?:tcp|udp|sctp)://")


def lay_variables(layers: Layers, environ: Mapping[str, str], sections: Sections, problems: Problems) -> None:
    """Lay what the ``MAESTER_*`` variables say over the file; empty ones say nothing."""
    seen: dict[Path, str] = {}
    for variable in sorted(filter(_is_ours, environ), key=lambda name: (name.count("__"), name)):
        text = environ[variable]
        if _is_service_link(variable, text):
            continue
        origin = Origin(variable=variable)
        problems.secrets |= secrets_of(variable, text)
        try:
            path, node = _resolve(variable, layers, sections)
        except NoSuchKey:
            nearest = nearest_name(variable[len(PREFIX) :], _known(layers, sections))
            message = "is not a variable that Maester knows"
            problems.add((), origin, message, nearest=PREFIX + nearest if nearest else None)
            continue
        except _AmbiguousError as exc:
            meant = " or ".join(exc.args[0])
            problems.add((), origin, f"may mean {meant}; say it in the file, or rename one")
            continue
        if not text.strip():
            continue
        if path in seen and environ[seen[path]] != text:
            problems.add(path, origin, f"differs from what {seen[path]} says; set only one of the two")
        seen[path] = variable
        layers.put(path, from_text(node, text), lambda _, origin=origin: origin)  # type: ignore[misc]


def _is_ours(variable: str) -> bool:
    return variable.startswith(PREFIX) and variable not in NOT_SETTINGS


def _is_service_link(variable: str, text: str) -> bool:
    """Kubernetes sets such variables in every pod beside a Service that is called ``maester``."""
    if variable == "MAESTER_PORT":
        return _SERVICE_ADDRESS.match(text) is not None
    return _SERVICE_LINK.fullmatch(variable) is not None


def _resolve(variable: str, layers: Layers, sections: Sections) -> tuple[Path, Node]:
    if variable in DIRECT:
        path = DIRECT[variable]
        return path, child(top(sections, str(path[0])), path[1])
    parts = variable[len(PREFIX) :].split("__")
    first = _matching(parts[0], [*sections, *names(CONFIGURATION)])
    if first is None:
        raise NoSuchKey(variable)
    path, node = (first,), top(sections, first)
    for part in parts[1:]:
        if isinstance(node, fields.List):
            raise NoSuchKey(variable)
        chosen = node is None or isinstance(node, fields.Mapping)
        name = _matching(part, _named(layers, path) if chosen else names(node))
        if name is None and chosen:
            name = part.lower() or None
        if name is None:
            raise NoSuchKey(variable)
        path, node = (*path, name), child(node, name)
    return path, node


def _named(layers: Layers, path: Path) -> list[str]:
    """Names of the user's choice that are already in use under a path."""
    table = layers.get(path)
    inside = list(table) if isinstance(table, dict) else []
    return list(dict.fromkeys([*inside, *TYPES])) if path == ("providers",) else inside


def _matching(part: str, candidates: Iterable[str]) -> str | None:
    """The name that a part of a variable means: spelt the same, or else the same but for punctuation."""
    alike = [each for each in candidates if part and _folded(each) == _folded(part)]
    same = [each for each in alike if each.upper() == part.upper()]
    if len(alike) > 1 and not same:
        raise _AmbiguousError(alike)
    return next(iter(same or alike), None)


class _AmbiguousError(Exception):
    """A part of a variable's name may mean more than one of the names in use."""


def _folded(name: str) -> str:
    return re.sub(r"[^A-Z0-9]+", "_", name.upper())


def _known(layers: Layers, sections: Sections) -> list[str]:
    """Variables that would be known, without their prefix; with the names in use as examples."""
    found = [name[len(PREFIX) :] for name in (*DIRECT, *NOT_SETTINGS)]
    roots: list[tuple[Path, Node]] = [((), CONFIGURATION)]
    roots += [((name,), top(sections, name)) for name in sections]
    for start, root in roots:
        for path, _ in settings(root, start):
            found.extend(_spelt(path, layers))
    return found


def _spelt(path: Path, layers: Layers) -> Iterable[str]:
    """A setting's variables, without their prefix: one for each name of the user's choice on the way."""
    if "*" not in path:
        yield _joined(path)
        return
    star = path.index("*")
    for name in _named(layers, path[:star]):
        yield _joined((*path[:star], name, *path[star + 1 :]))
    if not isinstance(layers.get(path[:star]), dict):
        yield _joined(path[:star])


def _joined(path: Path) -> str:
    return "__".join(_folded(str(part)) for part in path)
