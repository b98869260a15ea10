"""A provider that answers as it is told."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from maester.errors import ProviderTimeout
from maester.model import Call, Chunk, Response, Usage

USAGE = Usage(input_tokens=10, output_tokens=5)
"""What the fake reports unless told."""

_WORD = re.compile(r"\s*\S+\s*|\s+")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer in detail.

    :param text: what it says; that of the pieces together unless given.
    :param pieces: how a stream divides it; by words unless given.
    :param usage: what it reports; ``None`` to report nothing.
    :param delay_s: seconds before it begins.
    :param chunk_delay_s: seconds between two pieces of a stream.
    :param error: raised instead of an answer; in a stream after the pieces.
    """

    text: str = ""
    pieces: Sequence[str] = ()
    usage: Usage | None = USAGE
    finish_reason: str = "stop"
    delay_s: float = 0.0
    chunk_delay_s: float = 0.0
    error: Exception | None = None

    @property
    def said(self) -> str:
        return self.text or "".join(self.pieces)

    @property
    def parts(self) -> Sequence[str]:
        return self.pieces or _WORD.findall(self.text)


Scripted = str | Response | Answer | Exception | Sequence[str] | Callable[[Call], "Scripted"]
"""An answer: its text, the response itself, an `Answer`, what is raised instead, the pieces of a
stream, or a function that is handed the call and returns one of these."""


class FakeProvider:
    """Answers what it was told to, and remembers what it was asked.

    It answers to its own name (``model="fake"``) and to any other behind it (``fake/anything``). Whole
    answers and streams follow the same script. No price is known for it unless one is configured.

    :ivar calls: every `Call`, in order; also those that were answered with an error.
    :param usage: what answers report that do not say themselves; ``None`` to report nothing.
    :param delay_s: seconds before each of those answers.
    """

    def __init__(self, name: str = "fake", *, usage: Usage | None = USAGE, delay_s: float = 0.0) -> None:
        self.name = name
        self.usage = usage
        self.delay_s = delay_s
        self.calls: list[Call] = []
        self._script: list[Scripted] = ["Hello."]
        self._lock = threading.Lock()

    def answers(self, *script: Scripted) -> FakeProvider:
        """Answer so from now on, one call after the other; the last one also to all that follow.

        ``fake.answers("one", ProviderRateLimited("slow down"), ["in ", "pieces"])``
        """
        if not script:
            raise ValueError("Say at least one answer.")
        with self._lock:
            self._script = list(script)
        return self

    def models(self) -> tuple[str, ...]:
        """Its own name; any other is answered to as well."""
        return (self.name,)

    def generate(self, call: Call) -> Response:
        """See `maester.contracts.Provider.generate`."""
        answer = self._next(call)
        if isinstance(answer, Response):
            return answer
        self._wait(answer.delay_s, call)
        if answer.error is not None:
            raise answer.error
        response = Response.of(answer.said, model=call.model, usage=answer.usage)
        return replace(response, finish_reason=answer.finish_reason)

    def stream(self, call: Call) -> Iterator[Chunk]:
        """The answer in pieces, the last one with finish reason and usage."""
        answer = self._next(call)
        if isinstance(answer, Response):
            answer = Answer(answer.output, usage=answer.usage, finish_reason=answer.finish_reason or "stop")
        self._wait(answer.delay_s, call)
        for number, piece in enumerate(answer.parts):
            self._wait(answer.chunk_delay_s if number else 0.0, call)
            yield Chunk.of(piece)
        if answer.error is not None:
            raise answer.error
        yield Chunk.of("", finish_reason=answer.finish_reason, usage=answer.usage)

    def embed(self, call: Call) -> Response:
        """A vector ``[1.0, 0.0]`` for every input; of the script only errors and delays matter."""
        answer = self._next(call)
        if isinstance(answer, Response):
            return answer
        self._wait(answer.delay_s, call)
        if answer.error is not None:
            raise answer.error
        given = call.request.input
        count = len(given) if isinstance(given, list) and not all(isinstance(i, int) for i in given) else 1
        data = [{"object": "embedding", "index": index, "embedding": [1.0, 0.0]} for index in range(count)]
        usage = replace(answer.usage, output_tokens=0) if answer.usage else None
        body: dict[str, Any] = {"object": "list", "data": data, "model": call.model}
        if usage is not None:
            body["usage"] = {"prompt_tokens": usage.input_tokens, "total_tokens": usage.input_tokens}
        return Response(model=call.model, output="", usage=usage, body=body)

    def _next(self, call: Call) -> Answer | Response:
        with self._lock:
            self.calls.append(call)
            scripted = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        while callable(scripted):
            scripted = scripted(call)
        if isinstance(scripted, (Answer, Response)):
            return scripted
        told = Answer(usage=self.usage, delay_s=self.delay_s)
        if isinstance(scripted, Exception):
            return replace(told, error=scripted)
        if isinstance(scripted, str):
            return replace(told, text=scripted)
        return replace(told, pieces=tuple(scripted))

    def _wait(self, seconds: float, call: Call) -> None:
        """Wait, but not past the call's deadline."""
        if not seconds:
            return
        left = seconds if call.deadline is None else call.deadline - time.monotonic()
        time.sleep(max(0.0, min(seconds, left)))
        if left < seconds:
            raise ProviderTimeout(f"Provider {self.name}: no answer within the deadline.", provider=self.name)
