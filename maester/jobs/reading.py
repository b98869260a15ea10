"""Reading the requests of a job: each is judged by the code of the endpoint that it is for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from maester.checks import resolve_checks
from maester.errors import InvalidRequest, MaesterError
from maester.model import Caller, Request
from maester.runtime import Runtime
from maester.web import intake

from .model import CHAT, EMBEDDINGS, GENERATE, MESSAGES, Json, NewItem

READERS: Mapping[str, Callable[..., intake.Intake]] = {
    GENERATE: intake.generate,
    CHAT: intake.chat,
    EMBEDDINGS: intake.embeddings,
    MESSAGES: intake.message,
}
"""Addresses that the requests of a job may be for, with what reads their bodies."""

_NO_HEADERS: dict[str, Any] = {}
MAX_CUSTOM_ID = 512
MAX_PROBLEMS = 100
"""Problems that are told one by one; the others are counted."""


def request_of(url: str, body: Json) -> Request:
    """A request of a job as its endpoint reads it.

    :raises InvalidRequest: naming the field at fault.
    """
    return READERS[url](_NO_HEADERS, body).request


class Unfit(Exception):
    """A request that cannot be one of the job's.

    :param code: a stable code: one of `maester.errors`, or one of those that OpenAI has for lines of a
        batch.
    :param error: the error behind it, if there is one.
    """

    def __init__(
        self, code: str, message: str, param: str | None = None, error: MaesterError | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.param = param
        self.error = error


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a job says for those of its requests that do not say it themselves.

    :param url: the endpoint of requests that name none.
    """

    url: str = GENERATE
    model: str | None = None
    evaluate: Any = None
    on_failure: str | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """A request of a job, taken apart."""

    url: str
    body: Json
    custom_id: str | None = None

    def item(self) -> NewItem:
        """The request as it is kept."""
        return NewItem(orjson.dumps(self.body).decode(), self.url, self.custom_id)


class Reader:
    """Reads requests of one job.

    :param endpoint: for a batch, the one endpoint of all its lines, which then must have OpenAI's form.
    """

    def __init__(
        self,
        runtime: Runtime,
        *,
        caller: Caller | None = None,
        defaults: Defaults | None = None,
        endpoint: str | None = None,
    ) -> None:
        self._router = runtime.router
        self._evaluators = runtime.registry.evaluators
        self._caller = caller
        self._defaults = defaults or Defaults()
        self._endpoint = endpoint
        self._seen: set[str] = set()

    def entry(self, value: Any) -> Entry:
        """Take a request apart and add what the job says for all; its body is not looked at.

        :param value: ``{"custom_id", "method", "url", "body"}``, OpenAI's line of a batch; in a job of
            Maester's also a body alone, with an optional ``custom_id`` beside its fields.
        :raises Unfit: when it is neither.
        """
        if type(value) is not dict:
            raise Unfit("invalid_request", "The request must be a JSON object.")
        custom_id = _custom_id(value, required=self._endpoint is not None)
        if self._endpoint is None and "body" not in value:
            body = {name: each for name, each in value.items() if name not in ("custom_id", "url", "method")}
        else:
            if "body" not in value:
                raise _missing("body")
            body = value["body"]
            if type(body) is not dict:
                raise Unfit("invalid_request", "`body` must be a JSON object.", "body")
        url = self._url(value)
        return Entry(url, self._completed(url, body), custom_id)

    def judge(self, entry: Entry) -> None:
        """Make sure that the endpoint would take a request, and that the job's caller may make it.

        :raises Unfit: saying why not.
        """
        body, param = entry.body, "body." if self._endpoint is not None else ""
        try:
            if body.get("stream"):
                raise InvalidRequest(
                    "Requests of a job are not streamed: leave `stream` out.", param="stream"
                )
            request = request_of(entry.url, body)
            self._router.resolve(request.model, self._caller)
            if request.checks:
                resolve_checks(request.checks, self._evaluators)
        except MaesterError as error:
            where = f"{param}{error.param}" if error.param else None
            raise Unfit(error.code, error.message, where, error) from error
        if entry.custom_id is not None:
            if entry.custom_id in self._seen:
                raise Unfit(
                    "duplicate_custom_id",
                    f"The custom_id {entry.custom_id[:100]!r} is that of an earlier request;"
                    " within a job it must be unique.",
                    "custom_id",
                )
            self._seen.add(entry.custom_id)

    def _url(self, value: Json) -> str:
        batch = self._endpoint is not None
        if batch and "method" not in value:
            raise _missing("method")
        if value.get("method", "POST") != "POST":
            raise Unfit("invalid_method", "`method` must be POST.", "method")
        if batch and "url" not in value:
            raise _missing("url")
        url = value.get("url", self._defaults.url)
        if self._endpoint is not None and url != self._endpoint:
            raise Unfit("url_mismatch", f"`url` must be the batch's endpoint, {self._endpoint}.", "url")
        if type(url) is not str or url not in READERS:
            raise Unfit("invalid_url", f"`url` must be one of: {', '.join(READERS)}.", "url")
        return url

    def _completed(self, url: str, body: Json) -> Json:
        said = self._defaults
        if said.model is not None and "model" not in body:
            body = {**body, "model": said.model}
        if (said.evaluate is None and said.on_failure is None) or url == EMBEDDINGS:
            return body
        common = {"evaluate": said.evaluate, "on_failure": said.on_failure}
        common = {name: value for name, value in common.items() if value is not None}
        if url == GENERATE:
            return {**common, **body}
        own = body.get("maester") or {}
        return {**body, "maester": {**common, **own}} if type(own) is dict else body


def _custom_id(value: Json, *, required: bool) -> str | None:
    found = value.get("custom_id")
    if found is None:
        if required:
            raise _missing("custom_id")
        return None
    if type(found) is not str or not 0 < len(found) <= MAX_CUSTOM_ID or "\x00" in found:
        raise Unfit(
            "invalid_custom_id",
            f"`custom_id` must be a text of 1 to {MAX_CUSTOM_ID} characters without NUL.",
            "custom_id",
        )
    return found


def _missing(name: str) -> Unfit:
    return Unfit("missing_required_parameter", f"Missing required parameter: '{name}'.", name)
