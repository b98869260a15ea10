"""From a request's body and headers to a `Request` and what goes with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from maester.checks import parse_checks
from maester.dialects import anthropic
from maester.errors import InvalidRequest
from maester.model import NOTHING, Check, Request

from . import schemas
from .attribution import attribution_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

Json = dict[str, Any]

_ALIAS = re.compile(r"[\x20-\x7e]{1,200}")
_MAX_TIMEOUT_MS = 86_400_000

_CHAT_OWN = frozenset(
    {
        "model",
        "messages",
        "stream",
        "stream_options",
        "metadata",
        "user",
        "safety_identifier",
        "maester",
    }
)
_GENERATE_OWN = _CHAT_OWN | {"prompt", "evaluate", "on_failure", "tags", "session"}
_EMBEDDINGS_OWN = frozenset({"model", "input", "metadata", "user", "safety_identifier", "maester"})


@dataclass(frozen=True, slots=True)
class Intake:
    """What a caller asks for.

    :param request: the request for the chain.
    :param include_usage: whether the pieces of a stream are to report usage.
    """

    request: Request
    include_usage: bool = False


def chat(environ: WSGIEnvironment, body: Json) -> Intake:
    """Read ``POST /v1/chat/completions``.

    :raises InvalidRequest: naming the field at fault.
    """
    schemas.check(schemas.CHAT, body)
    own = _own(body)
    stream = bool(body.get("stream"))
    parameters = {name: whole(value) for name, value in body.items() if name not in _CHAT_OWN}
    include_usage = False
    options = body.get("stream_options")
    if options and stream:
        include_usage = bool(options.get("include_usage"))
        rest = {name: value for name, value in options.items() if name != "include_usage"}
        if rest:
            parameters["stream_options"] = rest
    about = attribution_of(environ, body, own.get("tags"))
    request = Request(
        model=body["model"],
        messages=body["messages"],
        parameters=parameters,
        stream=stream,
        checks=_checks(own.get("evaluate"), "maester.evaluate"),
        on_failure=own.get("on_failure"),
        tags=about.tags,
        user=about.user,
        session=own.get("session") or about.session,
        timeout_s=timeout_of(environ),
        cache=cache_of(environ),
    )
    return Intake(request, include_usage)


def generate(environ: WSGIEnvironment, body: Json) -> Intake:
    """Read ``POST /v1/generate``.

    :raises InvalidRequest: naming the field at fault.
    """
    schemas.check(schemas.GENERATE, body)
    prompt, messages = body.get("prompt"), body.get("messages")
    if (prompt is None) == (messages is None):
        raise InvalidRequest("Send either `prompt` or `messages`.", param="prompt")
    about = attribution_of(environ, body, body.get("tags"))
    request = Request(
        model=body["model"],
        messages=[{"role": "user", "content": prompt}] if messages is None else messages,
        parameters={name: whole(value) for name, value in body.items() if name not in _GENERATE_OWN},
        stream=bool(body.get("stream")),
        checks=_checks(body.get("evaluate"), "evaluate"),
        on_failure=body.get("on_failure"),
        tags=about.tags,
        user=about.user,
        session=body.get("session") or about.session,
        timeout_s=timeout_of(environ),
        cache=cache_of(environ),
    )
    return Intake(request)


def embeddings(environ: WSGIEnvironment, body: Json) -> Intake:
    """Read ``POST /v1/embeddings``.

    :raises InvalidRequest: naming the field at fault.
    """
    schemas.check(schemas.EMBEDDINGS, body)
    own = _own(body)
    about = attribution_of(environ, body, own.get("tags"))
    request = Request(
        model=body["model"],
        operation="embeddings",
        input=_tokens(body["input"]),
        parameters={name: whole(value) for name, value in body.items() if name not in _EMBEDDINGS_OWN},
        checks=_checks(own.get("evaluate"), "maester.evaluate"),
        tags=about.tags,
        user=about.user,
        session=own.get("session") or about.session,
        timeout_s=timeout_of(environ),
        cache=cache_of(environ),
    )
    return Intake(request)


def message(environ: WSGIEnvironment, body: Json) -> Intake:
    """Read ``POST /v1/messages``, Anthropic's format.

    :raises InvalidRequest: naming the field at fault.
    """
    own = _own(body)
    native = {name: whole(value) for name, value in body.items() if name != "maester"}
    request = anthropic.request_from_messages(native, _format_headers(environ))
    if len(request.model) > schemas.MAX_MODEL:
        raise InvalidRequest(f"`model` must have at most {schemas.MAX_MODEL} characters.", param="model")
    # Anthropic's ``metadata`` has one member, ``user_id``, which the dialect has read already.
    about = attribution_of(environ, NOTHING, own.get("tags"))
    request = replace(
        request,
        checks=_checks(own.get("evaluate"), "maester.evaluate"),
        on_failure=own.get("on_failure"),
        tags=about.tags,
        user=request.user or about.user,
        session=own.get("session") or about.session,
        timeout_s=timeout_of(environ),
        cache=cache_of(environ),
    )
    return Intake(request)


def _format_headers(environ: WSGIEnvironment) -> dict[str, str]:
    """Which version and beta features of Anthropic's format the body is written in."""
    named = {
        "anthropic-version": environ.get("HTTP_ANTHROPIC_VERSION"),
        "anthropic-beta": environ.get("HTTP_ANTHROPIC_BETA"),
    }
    return {name: value for name, value in named.items() if value}


def whole(value: Any) -> Any:
    """``5`` for ``5.0``: in JSON the same number, to most providers not the same type."""
    return int(value) if type(value) is float and value.is_integer() and abs(value) < 2**63 else value


def _checks(value: Any, param: str) -> tuple[Check, ...] | None:
    return parse_checks(written_checks(value), param=param)


def written_checks(value: Any) -> Any:
    """Checks as they were written, but for whole numbers that came as ``5.0``."""
    if type(value) is not list:
        return value
    return [
        {name: whole(parameter) for name, parameter in item.items()} if type(item) is dict else item
        for item in value
    ]


def _tokens(value: Any) -> Any:
    if type(value) is not list or type(value[0]) is str:
        return value
    return [_tokens(item) if type(item) is list else whole(item) for item in value]


def alias_of(environ: WSGIEnvironment) -> str | None:
    """The caller's own id of the request, from ``X-Request-Id``.

    :raises InvalidRequest: when it could not be kept as it is.
    """
    alias: str | None = environ.get("HTTP_X_REQUEST_ID")
    if not alias:
        return None
    if _ALIAS.fullmatch(alias) is None:
        raise InvalidRequest(
            "`X-Request-Id` must be 1 to 200 printable ASCII characters.", param="x-request-id"
        )
    return alias


def trace_headers(environ: WSGIEnvironment) -> Mapping[str, str]:
    """``traceparent`` and ``tracestate`` as they came."""
    parent = environ.get("HTTP_TRACEPARENT")
    if parent is None:
        return NOTHING
    state = environ.get("HTTP_TRACESTATE")
    return {"traceparent": parent} if state is None else {"traceparent": parent, "tracestate": state}


def timeout_of(environ: WSGIEnvironment) -> float | None:
    """The caller's own deadline in seconds, from ``x-maester-timeout-ms``.

    :raises InvalidRequest: when it is not a whole number of milliseconds within a day.
    """
    declared = environ.get("HTTP_X_MAESTER_TIMEOUT_MS")
    if declared is None:
        return None
    if not (declared.isascii() and declared.isdigit() and 0 < int(declared[:12]) <= _MAX_TIMEOUT_MS):
        raise InvalidRequest(
            f"`x-maester-timeout-ms` must be a whole number from 1 to {_MAX_TIMEOUT_MS}.",
            param="x-maester-timeout-ms",
        )
    return int(declared) / 1000


def cache_of(environ: WSGIEnvironment) -> Literal["use", "renew", "off"]:
    """What the response cache may do: with ``Cache-Control: no-cache`` renew, with ``no-store`` nothing."""
    declared = environ.get("HTTP_CACHE_CONTROL")
    if declared is None:
        return "use"
    said = {directive.strip().lower() for directive in declared.split(",")}
    if "no-store" in said:
        return "off"
    return "renew" if "no-cache" in said else "use"


def _own(body: Json) -> Json:
    """The ``maester`` object of a body: what is for Maester and not for the provider."""
    own = body.get("maester")
    if own is None:
        return {}
    if type(own) is not dict:
        raise InvalidRequest("`maester` must be an object.", param="maester")
    schemas.check(schemas.OWN, own, "maester.")
    return own
