"""The rules of providers."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from maester.contracts import Provider
from maester.errors import InvalidRequest, MaesterError, ProviderError
from maester.model import NOTHING, Call, Chunk, Request, Response

from . import wire
from .rules import RuleBroken, Rules, at_once
from .runtimes import Parts, lone_runtime
from .sinks import MemorySink

DEADLINE_GRACE_S = 1.5
"""Seconds after a call's deadline by which it must be over."""

_PROMPTS = 8
_PROMPT = "Say this: number {0} of the words."


@dataclass(frozen=True, slots=True)
class Failure:
    """A way to make the provider fail.

    :param label: what messages call it.
    :param expected: the class of error that it must raise.
    :param setup: called before every call, to make it fail.
    :param parameters: the request's parameters, where they are what fails.
    :param model: the model, where that is what fails.
    :param deadline_s: seconds that the call is given; it must be over soon after them.
    """

    label: str
    expected: type[MaesterError]
    setup: Callable[[], object] | None = None
    parameters: Mapping[str, Any] | None = None
    model: str | None = None
    deadline_s: float | None = None


def check_provider(
    provider: Provider,
    *,
    model: str,
    parameters: Mapping[str, Any] = NOTHING,
    failures: Iterable[Failure] = (),
    secrets: Iterable[str] = (),
    embedding_model: str | None = None,
    allow: Collection[str] = (),
) -> tuple[str, ...]:
    """Hold a provider to its contract.

    It is called some forty times, and twice for each failure; it is not closed.

    :param model: a model that it answers to.
    :param parameters: what goes with every chat request (``max_tokens``, ``temperature``).
    :param failures: ways to make it fail. Only these tell whether its errors and deadlines are right.
    :param secrets: credentials that it was given, which no error may show.
    :param embedding_model: the model for embeddings, if not `model`.
    :param allow: ``no usage`` for one that reports none; ``varying answers`` for one that does not
        answer the same prompt with the same words; ``no embeddings`` to leave its `embed` alone.
    :returns: the names of the rules that were checked.
    :raises RuleBroken: for the first rule that is broken.
    """
    known = {"no usage", "varying answers", "no embeddings"}
    rules = Rules(f"The provider {getattr(provider, 'name', None)!r}", allow, known)
    subject = _Subject(rules, provider, model, parameters)
    subject.check_members()
    whole = subject.check_whole()
    if hasattr(provider, "stream"):
        subject.check_stream(whole)
        subject.check_abandoned()
    subject.check_threads()
    if hasattr(provider, "embed") and not rules.allows("no embeddings"):
        subject.check_embeddings(embedding_model or model)
    _check_runtime(subject)
    for failure in failures:
        subject.check_failure(failure, tuple(secrets))
    return tuple(rules.checked)


class _Subject:
    """A provider that is held to the rules, and how it is called."""

    def __init__(self, rules: Rules, provider: Provider, model: str, parameters: Mapping[str, Any]) -> None:
        self.rules = rules
        self.provider: Any = provider
        self.model = model
        self.parameters = parameters
        self.reports_usage = not rules.allows("no usage")
        self.same_answers = not rules.allows("varying answers")

    def call(self, prompt: str, *, stream: bool = False) -> Call:
        request = Request(
            self.model,
            [{"role": "user", "content": prompt}],
            parameters=copy.deepcopy(dict(self.parameters)),
            stream=stream,
        )
        return Call(self.model, request)

    def generate(self, prompt: str) -> Response:
        """A whole answer, checked."""
        with self.rules.no_error("answers", "`generate`", "It must answer what the test asks."):
            response: Any = self.provider.generate(self.call(prompt))
        wire.check_response(self.rules, response, reports_usage=self.reports_usage)
        return response  # type: ignore[no-any-return]

    def streamed(self, prompt: str) -> Response:
        """The answer that a stream comes to, checked."""
        with self.rules.no_error("answers", "`stream`", "It must answer what the test asks."):
            pieces: list[Chunk] = list(self.provider.stream(self.call(prompt, stream=True)))
        wire.check_pieces(self.rules, pieces)
        return wire.joined(pieces, self.model)

    def check_members(self) -> None:
        """Name, models and the other optional members."""
        self.rules.named(getattr(self.provider, "name", None))
        for member in ("type", "dialect"):
            value = getattr(self.provider, member, "openai")
            self.rules.hold(
                "members",
                isinstance(value, str) and bool(value),
                f"its `{member}` is {value!r}.",
                f"`{member}` is a text.",
            )
        if hasattr(self.provider, "models"):
            with self.rules.no_error("models", "`models()`", "Return the names of its models."):
                models = list(self.provider.models())
            self.rules.hold(
                "models",
                all(isinstance(each, str) and each for each in models),
                f"`models()` gives {models!r}.",
                "Return texts that are not empty.",
            )

    def check_whole(self) -> Response:
        """A whole answer; the request is as it was after it."""
        call = self.call(_PROMPT.format(0))
        before = copy.deepcopy(call)
        with self.rules.no_error("answers", "`generate`", "It must answer what the test asks."):
            response: Any = self.provider.generate(call)
        wire.check_response(self.rules, response, reports_usage=self.reports_usage)
        self.rules.hold(
            "request is left alone",
            call == before,
            "answering changed the call.",
            "Copy what has to be changed: the record, and another attempt, take the same request.",
        )
        return response  # type: ignore[no-any-return]

    def check_stream(self, whole: Response) -> None:
        """A stream comes to what a whole answer says."""
        call = self.call(_PROMPT.format(0), stream=True)
        before = copy.deepcopy(call)
        with self.rules.no_error("answers", "`stream`", "It must answer what the test asks."):
            pieces = list(self.provider.stream(call))
        self.rules.hold(
            "request is left alone",
            call == before,
            "streaming changed the call.",
            "Copy what has to be changed: the record, and another attempt, take the same request.",
        )
        wire.check_pieces(self.rules, pieces)
        streamed = wire.joined(pieces, self.model)
        wire.check_finish_reason(self.rules, streamed.finish_reason)
        wire.check_usage(self.rules, streamed.usage, reports_usage=self.reports_usage, output=streamed.output)
        if not self.same_answers:
            return
        for what, one, other in (
            ("text", streamed.output, whole.output),
            ("finish reason", streamed.finish_reason, whole.finish_reason),
            ("usage", _totals(streamed), _totals(whole)),
        ):
            self.rules.hold(
                "stream agrees",
                one == other,
                f"the {what} of the stream is {one!r}, that of the whole answer {other!r}.",
                "Both ways of asking must come to the same; or say allow=('varying answers',).",
            )

    def check_abandoned(self) -> None:
        """A stream that is left after its first piece ends quietly, and the next call is not disturbed."""
        remedy = "Release what the stream holds in a `finally`, and let GeneratorExit through."
        with self.rules.no_error("abandoned stream", "a stream left after its first piece", remedy):
            pieces = iter(self.provider.stream(self.call(_PROMPT.format(1), stream=True)))
            next(pieces)
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
            left = None if close is None else next(pieces, None)
            self.rules.hold(
                "abandoned stream", left is None, "a closed stream goes on with another piece.", remedy
            )
            self.provider.generate(self.call(_PROMPT.format(1)))

    def check_threads(self) -> None:
        """Many calls at once get each its own answer, whole and streamed."""
        prompts = [_PROMPT.format(number) for number in range(_PROMPTS)]
        ways = [self.generate] + ([self.streamed] if hasattr(self.provider, "stream") else [])
        asked = [(way, prompt) for prompt in prompts for way in ways]
        alone = [way(prompt).output for way, prompt in asked] if self.same_answers else [None] * len(asked)
        answered = at_once(lambda pair: pair[0](pair[1]), asked)
        for (_, prompt), wanted, answer in zip(asked, alone, answered, strict=True):
            if isinstance(answer, RuleBroken):
                raise answer
            assert isinstance(answer, Response)
            self.rules.hold(
                "threads do not mix",
                wanted is None or answer.output == wanted,
                f"asked {prompt!r} while other threads asked, it answered {answer.output!r}; alone it"
                f" answers {wanted!r}.",
                "One object serves all threads at once: keep nothing about a call on it.",
            )

    def check_embeddings(self, model: str) -> None:
        """A vector for each input."""
        texts = ["one text", "another text"]
        request = Request(model, operation="embeddings", input=texts)
        with self.rules.no_error("embeddings", "`embed`", "Answer, or say allow=('no embeddings',)."):
            response = self.provider.embed(Call(model, request))
        wire.check_embeddings(self.rules, response, len(texts), reports_usage=self.reports_usage)

    def check_failure(self, failure: Failure, secrets: tuple[str, ...]) -> None:
        """It fails as it should, in time, and says nothing that is not to be said."""
        canary = f"canary-{uuid.uuid4().hex}"
        ways = ["generate"] + (["stream"] if hasattr(self.provider, "stream") else [])
        for way in ways:
            if failure.setup is not None:
                failure.setup()
            self._fail(failure, way, canary, secrets)

    def _fail(self, failure: Failure, way: str, canary: str, secrets: tuple[str, ...]) -> None:
        rules, where = self.rules, f"for {failure.label!r}, `{way}`"
        model = failure.model or self.model
        given = self.parameters if failure.parameters is None else failure.parameters
        request = Request(
            model, [{"role": "user", "content": canary}], parameters=dict(given), stream=way == "stream"
        )
        started = time.monotonic()
        deadline = None if failure.deadline_s is None else started + failure.deadline_s
        raised: Exception | None = None
        try:
            answer = getattr(self.provider, way)(Call(model, request, deadline=deadline))
            if way == "stream":
                list(answer)
        except Exception as exc:  # noqa: BLE001 - which one it is, is what is checked
            raised = exc
        took = time.monotonic() - started
        if failure.deadline_s is not None:
            rules.hold(
                "deadline",
                took <= failure.deadline_s + DEADLINE_GRACE_S,
                f"{where} took {took:.1f} s though its deadline was after {failure.deadline_s:g} s.",
                "Give up at `call.deadline` (`time.monotonic()`) with ProviderTimeout, a stream too.",
            )
        rules.hold(
            "errors",
            isinstance(raised, (ProviderError, InvalidRequest)),
            f"{where} {f'raised {raised!r}' if raised else 'answered'}.",
            "Raise ProviderError, a subclass of it, or InvalidRequest: they decide what callers are told.",
        )
        rules.hold(
            "error classes",
            isinstance(raised, failure.expected),
            f"{where} raised {type(raised).__name__}: {raised}.",
            f"Raise {failure.expected.__name__}.",
        )
        assert isinstance(raised, MaesterError)
        _check_words(rules, where, raised, canary, secrets)


def _check_words(
    rules: Rules, where: str, error: MaesterError, canary: str, secrets: tuple[str, ...]
) -> None:
    with rules.no_error("errors", "writing an error as JSON", "Put plain values into it."):
        written = f"{error} {orjson.dumps(error.as_dict()).decode()}"
    rules.hold(
        "errors keep content to themselves",
        canary not in written,
        f"{where} raised an error that quotes the prompt: {written[:300]}",
        "Leave request and response out of the message: it is logged and shown where content is not.",
    )
    rules.hold(
        "errors keep secrets to themselves",
        not any(secret in written for secret in secrets),
        f"{where} raised an error that shows a credential.",
        "Leave headers and addresses out of the message, or blot the credential out of them.",
    )


def _totals(response: Response) -> tuple[int, int] | None:
    usage = response.usage
    return None if usage is None else (usage.input_tokens, usage.output_tokens)


class _Lent:
    """The provider as a runtime gets it, which closes its own at the end: but not this one."""

    def __init__(self, provider: Any) -> None:
        self._provider = provider

    def __getattr__(self, name: str) -> Any:
        if name == "close":
            raise AttributeError(name)
        return getattr(self._provider, name)


def _check_runtime(subject: _Subject) -> None:
    """A whole chain answers, records and charges it; what has no price is unpriced, never zero."""
    sink = MemorySink()
    rules, provider = subject.rules, subject.provider
    lent: Any = _Lent(provider)
    with lone_runtime(Parts(providers=[lent], sinks=[sink])) as runtime:
        for stream in (False, True):
            asked = subject.call(_PROMPT.format(0), stream=stream).request
            request = Request(
                f"{provider.name}/{subject.model}", asked.messages, parameters=asked.parameters, stream=stream
            )
            if stream:
                reading = runtime.stream(request)
                list(reading)
                inference = reading.inference
            else:
                inference = runtime.execute(request)
            rules.hold(
                "works in a runtime",
                inference.error is None and inference.response is not None,
                f"in a runtime it ended with {inference.error!r}.",
                "A runtime calls it as the test does, with trace headers and no deadline.",
            )
            cost = inference.cost
            rules.hold(
                "unknown is not zero",
                cost is not None and (bool(cost.lines) if cost.priced else cost.total_usd is None),
                f"its cost is {cost!r}.",
                "Report the tokens that were used, or no usage at all.",
            )
        records = sink.wait(2)
        rules.hold(
            "works in a runtime",
            all(record["attempts"][0]["usage"] for record in records),
            "an attempt is recorded without usage.",
            "Report usage; or none, and it is counted.",
        )
