"""What is done for one item: an inference through the chain, as for a request over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Protocol

import orjson

from maester.database.schema import floor_pico
from maester.errors import MaesterError, ProviderRateLimited
from maester.model import Caller, Inference, Request
from maester.record import usage_view
from maester.runtime import Runtime
from maester.web import chat, embeddings, generate, messages
from maester.web.answers import summary
from maester.web.errors import error_body

from .model import CHAT, EMBEDDINGS, GENERATE, MESSAGES, Item, Job, Outcome
from .reading import request_of
from .throttle import Throttle

_ANSWERS: Mapping[str, Callable[[Inference], Any]] = {
    CHAT: chat.completion,
    EMBEDDINGS: embeddings.embedded,
    GENERATE: generate.generation,
    MESSAGES: messages.message,
}
_RATE_LIMIT_TRIES = 50
"""How often an item is tried that a provider refuses for its rate: it is the provider that is slow."""
_QUOTA = ("insufficient_quota", "enforced_spend_limit_reached")
"""What a provider calls a 429 that waiting does not mend."""
_LONGEST_PAUSE_S = 60.0
_LONGEST_ALIAS = 200


class Performer(Protocol):
    """Does what a job's items ask for. Shared by the threads of a worker."""

    def __call__(self, item: Item) -> Outcome | None:
        """Do it; ``None`` when it was not begun because the worker ends."""
        ...


class Inferrer:
    """Passes items through the chain."""

    def __init__(self, runtime: Runtime, job: Job, throttle: Throttle, stopping: threading.Event) -> None:
        self._runtime = runtime
        self._throttle = throttle
        self._stopping = stopping
        self._job = job
        spec = job.spec
        caller = spec.get("caller")
        self._caller = Caller(caller["key_id"], caller["name"], tuple(caller["models"])) if caller else None
        self._trace: Mapping[str, str] = spec.get("trace") or {}
        self._tries = runtime.settings.jobs.tries

    def __call__(self, item: Item) -> Outcome | None:
        """See `Performer`."""
        url = item.url or GENERATE
        try:
            request = self._request(url, item)
        except MaesterError as exc:
            return _failed(item, exc, item.request_id or "")
        provider = self._provider(request)
        if not self._throttle.wait(provider, self._stopping):
            return None
        inference = self._runtime.execute(
            request,
            entry_point="job",
            alias=_alias(item.custom_id),
            caller=self._caller,
            headers=self._trace,
            job_id=self._job.id,
            request_id=item.request_id,
        )
        return self._outcome(item, url, provider, inference)

    def _request(self, url: str, item: Item) -> Request:
        request = request_of(url, orjson.loads(item.body))
        spec = self._job.spec
        return replace(
            request,
            stream=False,
            tags={**(spec.get("tags") or {}), **request.tags},
            user=request.user or spec.get("user"),
            session=request.session or spec.get("session"),
        )

    def _provider(self, request: Request) -> str:
        """The provider that will answer, whose pace counts."""
        try:
            return self._runtime.router.resolve(request.model).name
        except MaesterError:  # told again, and recorded, by the chain
            return ""

    def _outcome(self, item: Item, url: str, provider: str, inference: Inference) -> Outcome:
        error = inference.error
        if error is None:
            body = orjson.dumps(_ANSWERS[url](inference)).decode()
            return replace(_spent(item, inference), state="done", status_code=200, result=body)
        if isinstance(error, ProviderRateLimited) and error.provider_code not in _QUOTA:
            self._throttle.limited(provider, error.retry_after_s)
            if item.tries < _RATE_LIMIT_TRIES:
                return _spent(item, inference)
        elif error.retryable and error.code != ProviderRateLimited.code and item.tries < self._tries:
            after_s = error.retry_after_s or 2.0 ** (item.tries - 1)
            return replace(_spent(item, inference), after_s=min(_LONGEST_PAUSE_S, after_s))
        failed = _failed(item, error, inference.request_id, summary(inference))
        return replace(
            _spent(item, inference), state="failed", status_code=failed.status_code, result=failed.result
        )


def _failed(item: Item, error: MaesterError, request_id: str, known: dict[str, Any] | None = None) -> Outcome:
    body = orjson.dumps(error_body(error, "openai", request_id, known)).decode()
    return Outcome(item.number, "failed", error.http_status, body)


def _spent(item: Item, inference: Inference) -> Outcome:
    """What an inference consumed, as the outcome of an item that is to be tried again."""
    usage = usage_view(inference) or {}
    cost = inference.cost
    amount = None if cost is None or cost.total_usd is None else floor_pico(cost.total_usd)
    return Outcome(
        item.number,
        "pending",
        input_tokens=usage.get("input_tokens", 0),
        output_tokens=usage.get("output_tokens", 0),
        cost_usd=amount if inference.attempts else 0,
    )


def _alias(custom_id: str | None) -> str | None:
    """The caller's own name of the item, by which its inference can be found, if it can be kept as it is."""
    if custom_id and len(custom_id) <= _LONGEST_ALIAS and custom_id.isascii() and custom_id.isprintable():
        return custom_id
    return None
