"""Providers that each break one rule, which the kit must name; and one that breaks none."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from maester.errors import InvalidRequest, ProviderError, ProviderRateLimited, ProviderTimeout
from maester.model import Call, Chunk, Response, Usage
from maester.testing import Failure, RuleBroken, check_provider

SECRET = "sk-very-secret"
FAILURES = [
    Failure("rate limit", ProviderRateLimited, parameters={"fail": "rate"}),
    Failure("slow", ProviderTimeout, parameters={"fail": "slow"}, deadline_s=0.1),
]


class Sound:
    """Says the prompt again; every mutation changes one method or value of it."""

    name: Any = "sound"
    usage: Any = Usage(10, 5, cache_read_tokens=4, reasoning_tokens=2)

    def models(self) -> Any:
        return ["sound-1"]

    def text(self, call: Call) -> str:
        self.fail(call)
        return str(call.messages[-1]["content"])

    def fail(self, call: Call) -> None:
        if call.parameters.get("fail") == "rate":
            raise ProviderRateLimited("Provider sound limits the rate of requests.", provider="sound")
        if call.parameters.get("fail") == "slow":
            assert call.deadline is not None
            time.sleep(max(0.0, call.deadline - time.monotonic()))
            raise ProviderTimeout("Provider sound took too long.", provider="sound")

    def generate(self, call: Call) -> Any:
        text = self.text(call)
        choice = {
            "index": 0,
            "message": {"role": "assistant", "content": text},
            "finish_reason": "stop",
        }
        body = {
            "object": "chat.completion",
            "choices": [choice],
            "usage": {"prompt_tokens": 10, "completion_tokens": 5},
        }
        return Response("sound-1", text, "stop", self.usage, "id-1", body)

    def stream(self, call: Call) -> Iterator[Any]:
        text = self.text(call)
        yield Chunk.of(text[:5])
        yield Chunk.of(text[5:])
        yield Chunk.of("", finish_reason="stop", usage=self.usage)

    def embed(self, call: Call) -> Any:
        data = [
            {"object": "embedding", "index": index, "embedding": [0.5, 1.0]}
            for index, _ in enumerate(call.request.input)
        ]
        return Response("sound-1", "", usage=Usage(3), body={"object": "list", "data": data})


def check(provider: Any, **options: Any) -> tuple[str, ...]:
    return check_provider(provider, model="sound-1", failures=FAILURES, secrets=[SECRET], **options)


def test_a_sound_provider_keeps_every_rule() -> None:
    assert {"deadline", "embeddings", "stream agrees", "errors keep content to themselves"} <= set(
        check(Sound())
    )


def test_a_simple_provider_needs_no_body_and_no_stream() -> None:
    class Simple:
        name = "simple"

        def generate(self, call: Call) -> Response:
            return Response.of(str(call.messages[-1]["content"]))

    with pytest.raises(RuleBroken, match=r"'simple'.*'usage is reported'.*allow=\('no usage',\)"):
        check_provider(Simple(), model="x")
    checked = check_provider(Simple(), model="x", allow=["no usage"])
    assert "works in a runtime" in checked
    assert not {"deadline", "errors", "stream", "embeddings"} & set(checked)


def test_an_exception_that_there_is_not_is_refused() -> None:
    with pytest.raises(ValueError, match="'no usage'"):
        check(Sound(), allow=["no such thing"])


def changed(**fields: Any) -> type[Sound]:
    """Changes fields of whole answers."""

    class Changed(Sound):
        def generate(self, call: Call) -> Any:
            return replace(super().generate(call), **fields)

    return Changed


def told(body: dict[str, Any]) -> type[Sound]:
    """Changes keys of whole answers' bodies."""

    class Told(Sound):
        def generate(self, call: Call) -> Any:
            response = super().generate(call)
            return replace(response, body={**response.body, **body})

    return Told


def counted(**counts: Any) -> type[Sound]:
    """Changes the usage of whole answers and streams."""

    class Counted(Sound):
        usage = replace(Sound.usage, **counts)

        def generate(self, call: Call) -> Any:
            response = super().generate(call)
            return replace(response, body={key: v for key, v in response.body.items() if key != "usage"})

    return Counted


def streaming(*pieces: Any) -> type[Sound]:
    """Streams these pieces; of texts, functions of the prompt."""

    class Streaming(Sound):
        def stream(self, call: Call) -> Iterator[Any]:
            text = self.text(call)
            for piece in pieces:
                yield piece(text) if callable(piece) else piece

    return Streaming


def raising(error: Any, way: str = "rate") -> type[Sound]:
    """Raises something else when it fails."""

    class Raising(Sound):
        def fail(self, call: Call) -> None:
            if call.parameters.get("fail") == way:
                raise error(call) if callable(error) else error
            super().fail(call)

    return Raising


class Named(Sound):
    name = ""


class Padded(Sound):
    name = " sound"


class OddModels(Sound):
    def models(self) -> Any:
        return [None]


class OddDialect(Sound):
    dialect = None


class Failing(Sound):
    def generate(self, call: Call) -> Any:
        raise ProviderError("No.")


class Text(Sound):
    def generate(self, call: Call) -> Any:
        return self.text(call)


class Touching(Sound):
    def generate(self, call: Call) -> Any:
        call.messages[-1]["role"] = "system"
        return super().generate(call)


class TouchingStream(Sound):
    def stream(self, call: Call) -> Iterator[Any]:
        call.messages[-1]["role"] = "system"
        yield from super().stream(call)


class Clinging(Sound):
    def stream(self, call: Call) -> Iterator[Any]:
        for piece in super().stream(call):
            try:
                yield piece
            except GeneratorExit:
                yield piece


class Disturbed(Sound):
    """Does not answer while a stream that was left early is still open to it."""

    open = False

    def generate(self, call: Call) -> Any:
        if self.open:
            raise ProviderError("Busy.")
        return super().generate(call)

    def stream(self, call: Call) -> Iterator[Any]:
        self.open = True
        yield from super().stream(call)
        self.open = False


class Mixing(Sound):
    """Keeps the call on itself."""

    def generate(self, call: Call) -> Any:
        self.call = call
        time.sleep(0.005)
        return super().generate(self.call)


class MixingStream(Sound):
    def stream(self, call: Call) -> Iterator[Any]:
        self.call = call
        time.sleep(0.005)
        yield from super().stream(self.call)


class ShortEmbeddings(Sound):
    def embed(self, call: Call) -> Any:
        response = super().embed(call)
        return replace(response, body={**response.body, "data": response.body["data"][:1]})


class NotANumber(Sound):
    def embed(self, call: Call) -> Any:
        data = [{"object": "embedding", "index": i, "embedding": [float("nan")]} for i in (0, 1)]
        return Response("m", "", usage=Usage(3), body={"object": "list", "data": data})


class CountingEmbeddings(Sound):
    def embed(self, call: Call) -> Any:
        return replace(super().embed(call), usage=Usage(3, 1))


class Lazy(Sound):
    """Takes no notice of a deadline."""

    def fail(self, call: Call) -> None:
        if call.parameters.get("fail") == "slow":
            time.sleep(1.8)
            raise ProviderTimeout("Provider sound took too long.", provider="sound")
        super().fail(call)


class OnlyAlone(Sound):
    """Answers only without trace headers, which a runtime sends along."""

    def fail(self, call: Call) -> None:
        if call.headers:
            raise TypeError("headers")
        super().fail(call)


def prompt_of(call: Call) -> str:
    return str(call.messages[-1]["content"])


WHOLE_USAGE = Sound.usage
END = Chunk.of("", finish_reason="stop", usage=WHOLE_USAGE)

BROKEN: list[tuple[str, type[Sound]]] = [
    ("name", Named),
    ("name", Padded),
    ("members", OddDialect),
    ("models", OddModels),
    ("answers", Failing),
    ("response", Text),
    ("response", changed(model=None)),
    ("response", changed(id="")),
    ("finish reason", changed(finish_reason="end_turn")),
    ("finish reason", changed(finish_reason=None)),
    ("wire format", told({"object": "message"})),
    ("wire format", told({"choices": []})),
    ("wire format", told({"extra": object()})),
    ("body says the same", changed(output="Something else.")),
    ("body says the same", told({"usage": {"prompt_tokens": 6, "completion_tokens": 5}})),
    ("usage is reported", changed(usage=None)),
    ("usage is reported", changed(usage={"input_tokens": 1})),
    ("usage is whole numbers", counted(output_tokens=5.0)),
    ("usage is whole numbers", counted(web_searches=-1)),
    ("usage includes its parts", counted(input_tokens=3)),
    ("usage includes its parts", counted(output_tokens=1)),
    ("usage includes its parts", counted(cache_write_tokens=7)),
    ("usage includes its parts", counted(cache_write_1h_tokens=1)),
    ("usage includes its parts", counted(cache_read_audio_tokens=5)),
    ("usage counts what was said", counted(output_tokens=0, reasoning_tokens=0)),
    ("request is left alone", Touching),
    ("request is left alone", TouchingStream),
    ("stream", streaming()),
    ("stream", streaming(lambda text: text)),
    ("wire format", streaming(Chunk({"choices": [{"text": "x"}]}), END)),
    ("usage comes last", streaming(END, Chunk.of)),
    ("usage comes last", streaming(Chunk.of, replace(END, usage_only=True))),
    ("usage is cumulative", streaming(lambda t: Chunk.of(t, usage=Usage(10, 9)), END)),
    ("usage is reported", streaming(Chunk.of, Chunk.of("", finish_reason="stop"))),
    ("finish reason", streaming(Chunk.of, Chunk.of("", usage=WHOLE_USAGE))),
    ("stream agrees", streaming(lambda text: Chunk.of(text[1:]), END)),
    ("stream agrees", streaming(Chunk.of, Chunk.of("", finish_reason="length", usage=WHOLE_USAGE))),
    ("stream agrees", streaming(Chunk.of, Chunk.of("", finish_reason="stop", usage=Usage(11, 5)))),
    ("abandoned stream", Clinging),
    ("abandoned stream", Disturbed),
    ("threads do not mix", Mixing),
    ("threads do not mix", MixingStream),
    ("embeddings", ShortEmbeddings),
    ("embeddings", NotANumber),
    ("embeddings", CountingEmbeddings),
    ("works in a runtime", OnlyAlone),
    ("errors", raising(ConnectionError("reset"))),
    ("error classes", raising(InvalidRequest("No."))),
    ("errors keep content to themselves", raising(lambda call: ProviderRateLimited(prompt_of(call)))),
    (
        "errors keep content to themselves",
        raising(lambda call: ProviderRateLimited("No.", provider_message=prompt_of(call))),
    ),
    ("errors keep secrets to themselves", raising(ProviderRateLimited(f"No, {SECRET}."))),
    ("deadline", Lazy),
]


@pytest.mark.parametrize(
    ("rule", "broken"), BROKEN, ids=[f"{rule} {number}" for number, (rule, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_is_named(rule: str, broken: type[Sound]) -> None:
    with pytest.raises(RuleBroken) as caught:
        check(broken())
    assert caught.value.rule == rule, str(caught.value)


def test_a_failure_that_does_not_happen_is_told() -> None:
    with pytest.raises(RuleBroken, match="for 'none', `generate` answered"):
        check_provider(Sound(), model="sound-1", failures=[Failure("none", ProviderRateLimited)])


def test_every_rule_has_a_provider_that_breaks_it() -> None:
    unbroken = {"unknown is not zero"}  # of a provider whose usage is right, the runtime's own to keep
    assert set(check(Sound())) - unbroken == {rule for rule, _ in BROKEN}
