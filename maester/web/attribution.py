"""Who and what a request is for, in every form that callers already send it.

Read here and never forwarded: the body's ``metadata``, ``user`` and ``safety_identifier``,
LiteLLM's ``metadata.tags``, the headers of Helicone, Portkey and LiteLLM, and Maester's own
``x-maester-tags: team=search,feature=autocomplete``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import orjson

from maester.errors import InvalidRequest
from maester.model import NOTHING

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Json = dict[str, Any]

MAX_TAGS = 64
MAX_NAME = 128
MAX_VALUE = 512

_TELLING = re.compile("HTTP_(?:HELICONE|X_PORTKEY|X_LITELLM|X_MAESTER_T)")
_HELICONE_PROPERTY = "HTTP_HELICONE_PROPERTY_"
_USER_HEADERS = ("HTTP_HELICONE_USER_ID", "HTTP_X_LITELLM_END_USER_ID")
_SESSION_HEADERS = ("HTTP_HELICONE_SESSION_ID", "HTTP_X_LITELLM_SESSION_ID", "HTTP_X_PORTKEY_TRACE_ID")


@dataclass(frozen=True, slots=True)
class Attribution:
    """What a request is attributed to."""

    tags: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    session: str | None = None


_NOBODY = Attribution(NOTHING)


def attribution_of(environ: WSGIEnvironment, body: Mapping[str, Any], tags: Any = None) -> Attribution:
    """Everything a request says about who it is for.

    Where two forms name the same tag, the more explicit one wins: the ``tags`` of the body, then
    ``x-maester-tags``, then other gateways' headers, then ``metadata``.

    :param tags: ``tags`` as found in the body: an object, or a list of ``name=value``.
    :raises InvalidRequest: for tags that are malformed, too many, or too long.
    """
    found: dict[str, str] = {}
    metadata = body.get("metadata")
    if metadata:
        _add_metadata(found, metadata)
    user = body.get("user") or body.get("safety_identifier")
    session: str | None = None
    if _TELLING.search(" ".join(environ)):
        user, session = _read_headers(environ, found, user)
    if tags:
        _add_tags(found, tags, "tags")
    if not found and user is None and session is None:
        return _NOBODY
    _check_size(found)
    return Attribution(found, _short(user, "user"), _short(session, "session"))


def _read_headers(
    environ: WSGIEnvironment, found: dict[str, str], user: str | None
) -> tuple[str | None, str | None]:
    portkey = environ.get("HTTP_X_PORTKEY_METADATA")
    if portkey:
        metadata = _portkey(portkey)
        named = metadata.pop("_user", None)
        user = user or _text(named)
        _add_metadata(found, metadata)
    for name, value in environ.items():
        if name.startswith(_HELICONE_PROPERTY):
            found[name[len(_HELICONE_PROPERTY) :].lower().replace("_", "-")] = _decoded(value)
    litellm = environ.get("HTTP_X_LITELLM_TAGS")
    if litellm:
        _add_tags(found, [tag for tag in _listed(litellm) if tag], "x-litellm-tags")
    own = environ.get("HTTP_X_MAESTER_TAGS")
    if own:
        _add_tags(found, [pair for pair in _listed(own) if pair], "x-maester-tags")
    for header in _USER_HEADERS:
        user = user or _decoded(environ.get(header, "")) or None
    session = next((_decoded(environ[name]) for name in _SESSION_HEADERS if environ.get(name)), None)
    return user, session


def _add_metadata(found: dict[str, str], metadata: Mapping[str, Any]) -> None:
    """Callers keep all kinds of things in ``metadata``, so what is too long is cut and never refused."""
    for name, value in metadata.items():
        if name == "tags" and isinstance(value, list):
            pairs = [_split(tag, "metadata.tags") for tag in value if type(tag) is str]
        elif value is None:
            continue
        else:
            pairs = [(name, value if type(value) is str else orjson.dumps(value).decode())]
        for key, text in pairs:
            key = key.replace("\x00", "").strip()[:MAX_NAME]
            if key and len(found) < MAX_TAGS:
                found[key] = text.replace("\x00", "")[:MAX_VALUE]


def _add_tags(found: dict[str, str], tags: Any, param: str) -> None:
    if isinstance(tags, dict):
        pairs: Iterable[tuple[Any, Any]] = tags.items()
    elif isinstance(tags, list):
        pairs = (_split(tag, param) for tag in tags)
    else:
        raise InvalidRequest(f"`{param}` must be an object, or a list of `name=value`.", param=param)
    for name, value in pairs:
        if type(value) is not str:
            raise InvalidRequest(f"The value of tag {name[:80]!r} must be a text.", param=param)
        if not name.strip():
            raise InvalidRequest("A tag needs a name.", param=param)
        found[name.strip()] = value


def _split(tag: Any, param: str) -> tuple[str, str]:
    """``name=value`` or ``name:value``; a bare label becomes a tag that is ``true``."""
    if type(tag) is not str:
        raise InvalidRequest(f"Every item of `{param}` must be a text.", param=param)
    for separator in ("=", ":"):
        name, found, value = tag.partition(separator)
        if found:
            return name, value.strip()
    return tag, "true"


def _check_size(found: Mapping[str, str]) -> None:
    if len(found) > MAX_TAGS:
        raise InvalidRequest(f"The request has {len(found)} tags; at most {MAX_TAGS} are kept.", param="tags")
    for name, value in found.items():
        if not name or len(name) > MAX_NAME or "\x00" in name:
            raise InvalidRequest(f"A tag's name must have 1 to {MAX_NAME} characters.", param="tags")
        if len(value) > MAX_VALUE or "\x00" in value:
            raise InvalidRequest(
                f"The value of tag {name!r} must have at most {MAX_VALUE} characters.", param="tags"
            )


def _short(value: str | None, param: str) -> str | None:
    if value is not None and (len(value) > MAX_VALUE or "\x00" in value):
        raise InvalidRequest(f"`{param}` must have at most {MAX_VALUE} characters.", param=param)
    return value


def _portkey(header: str) -> Json:
    try:
        value = orjson.loads(header)
    except orjson.JSONDecodeError:
        value = None
    if type(value) is not dict:
        raise InvalidRequest("`x-portkey-metadata` must be a JSON object.", param="x-portkey-metadata")
    return value


def _text(value: Any) -> str | None:
    return value if type(value) is str and value else None


def _listed(header: str) -> list[str]:
    return [part.strip() for part in _decoded(header).split(",")]


def _decoded(header: str) -> str:
    """A header's text: WSGI hands bytes over as Latin-1; what callers mean is UTF-8, maybe quoted."""
    text = header.encode("latin-1", "replace").decode("utf-8", "replace")
    return unquote(text, errors="replace").strip() if "%" in text else text.strip()
