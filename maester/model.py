"""The values that travel through the chain.

Everything here is plain data, frozen and slotted but for `Chunk`, and for `Inference`, the one mutable
envelope, in which every field has one writer. Money is `Decimal` in USD, durations are seconds, moments are
seconds since the epoch, tokens are counts.

Maester's own dialect is OpenAI's chat completion: messages, parameters, answers and chunks are
dictionaries of that wire format, unknown keys included, so that what passes through is not rebuilt
and nothing is lost. A provider that speaks something else converts at its edge.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Literal, TypedDict

from .inference import NOTHING as NOTHING
from .inference import CacheUse as CacheUse
from .inference import Fault as Fault
from .inference import Inference as Inference
from .inference import Receipt as Receipt

Operation = Literal["chat", "embeddings"]
CheckState = Literal["passed", "failed", "error", "skipped", "pending"]


class Message(TypedDict, total=False):
    """One message of a conversation, exactly as OpenAI's wire format has it.

    A typed dictionary and not a class: a conversation passes through byte for byte, keys that
    Maester has never heard of included.
    """

    role: str
    content: str | list[dict[str, Any]] | None
    name: str
    tool_calls: list[dict[str, Any]]
    tool_call_id: str


@dataclass(frozen=True, slots=True)
class Check:
    """One evaluator to run over an answer, as configured for a model or asked for in a request.

    :param evaluator: the evaluator's registered name.
    :param parameters: what the evaluator is told, validated by it.
    :param required: whether the answer is acceptable only if this check passes.
    :param name: how the result is labelled; the evaluator's name unless told.
    :param deferred: whether it runs later, in the background, and the answer does not wait for it.
    """

    evaluator: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    required: bool = True
    name: str = ""
    deferred: bool = False

    @property
    def label(self) -> str:
        return self.name or self.evaluator


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: what a key stands for."""

    key_id: str
    name: str
    models: tuple[str, ...] = ()
    """Models (or aliases) the key may use; empty means all."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request, as the caller made it.

    :param model: the model asked for: an alias, ``provider/model``, or a known model's name.
    :param messages: the conversation, in OpenAI's wire format.
    :param operation: ``chat`` or ``embeddings``.
    :param input: for embeddings, what is embedded (text, texts or token lists).
    :param parameters: every other body field that is meant for the provider, under OpenAI's names,
        untouched (``max_tokens``, ``temperature``, ``tools``, ``response_format``, …).
    :param stream: whether the caller reads the answer in pieces.
    :param checks: evaluators asked for in the request; ``None`` means the model's configured ones.
    :param on_failure: ``observe`` or ``block``; ``None`` means what is configured.
    :param tags: the caller's attribution labels.
    :param user: the caller's end user, for attribution.
    :param session: the caller's conversation id, for attribution.
    :param native: the body as it came in when its dialect is not OpenAI's (``dialect`` names it), so
        that a provider of the same dialect can send it on unconverted.
    :param native_headers: lowercase headers that belong to ``native`` (``anthropic-version``, …), never a
        credential; for a provider of the same dialect.
    :param dialect: ``openai`` or ``anthropic``: the wire format the caller speaks.
    :param inexpressible: fields of ``native`` that OpenAI's dialect has no word for; only a provider
        of the caller's own dialect can take the request when there are any.
    :param timeout_s: the caller's own deadline for the whole request.
    :param cache: what the response cache may do, where the model has one: ``use`` it, ``renew`` what is
        kept, or stay ``off``.
    """

    model: str
    messages: Sequence[Message] = ()
    operation: Operation = "chat"
    input: Any = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    stream: bool = False
    checks: tuple[Check, ...] | None = None
    on_failure: Literal["observe", "block"] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    user: str | None = None
    session: str | None = None
    native: Mapping[str, Any] | None = None
    native_headers: Mapping[str, str] = field(default_factory=dict)
    dialect: Literal["openai", "anthropic"] = "openai"
    inexpressible: tuple[str, ...] = ()
    timeout_s: float | None = None
    cache: Literal["use", "renew", "off"] = "use"


@dataclass(frozen=True, slots=True)
class Usage:
    """What an attempt consumed, in tokens unless named otherwise.

    OpenTelemetry's rule: ``input_tokens`` **includes** every cached, audio and image token of the
    input, ``output_tokens`` **includes** reasoning, audio and image tokens of the output. The other
    fields are parts of those two. ``cache_write_1h_tokens`` is a part of ``cache_write_tokens``;
    the rest of it was written for the provider's default lifetime (Anthropic: five minutes).
    ``cache_read_audio_tokens`` is a part of ``cache_read_tokens`` and of ``input_audio_tokens``.

    :param estimated: the provider did not report this; it was counted here.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0
    input_audio_tokens: int = 0
    cache_read_audio_tokens: int = 0
    output_audio_tokens: int = 0
    input_image_tokens: int = 0
    output_image_tokens: int = 0
    web_searches: int = 0
    estimated: bool = False

    @property
    def total_tokens(self) -> int:
        return self.input_tokens + self.output_tokens

    def as_dict(self) -> dict[str, Any]:
        """The two totals always; the parts only where they are not zero."""
        out: dict[str, Any] = {
            "input_tokens": self.input_tokens,
            "output_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }
        for name in _USAGE_PARTS:
            value = getattr(self, name)
            if value:
                out[name] = value
        if self.estimated:
            out["estimated"] = True
        return out


_USAGE_PARTS = (
    "cache_read_tokens",
    "cache_write_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
    "input_audio_tokens",
    "cache_read_audio_tokens",
    "output_audio_tokens",
    "input_image_tokens",
    "output_image_tokens",
    "web_searches",
)


@dataclass(frozen=True, slots=True)
class Response:
    """What a provider answered.

    :param model: the model that answered, in the provider's words.
    :param output: the text of the first choice; empty when there is none.
    :param finish_reason: OpenAI's word for why the answer ended (``stop``, ``length``, …).
    :param usage: what the provider reported; ``None`` if it reported nothing.
    :param id: the provider's id of the answer.
    :param body: the answer in OpenAI's wire format, for the operation at hand.
    :param native: the provider's own body when its dialect is not OpenAI's.
    :param native_dialect: which dialect ``native`` is in.
    :param service_tier: the tier that the provider billed, in its own words.
    """

    model: str
    output: str
    finish_reason: str | None = None
    usage: Usage | None = None
    id: str | None = None
    body: Mapping[str, Any] = field(default_factory=dict)
    native: Mapping[str, Any] | None = None
    native_dialect: str | None = None
    service_tier: str | None = None

    @classmethod
    def of(cls, text: str, *, model: str = "", usage: Usage | None = None) -> Response:
        """A finished answer made of plain text: all that a simple provider needs.

        :param text: the answer.
        :param model: the model's name, empty for the name it was asked under.
        :param usage: tokens; without it they are counted and the cost marked as estimated.
        """
        return cls(model=model, output=text, finish_reason="stop", usage=usage)


@dataclass(slots=True)
class Chunk:
    """One piece of a streamed answer.

    It is not to be changed. It is not frozen either: that would make it three times as slow to make, for
    every piece of every stream.

    :param body: OpenAI's ``chat.completion.chunk``.
    :param native: the provider's own events behind this piece (each with its ``type``), when its
        dialect is not OpenAI's.
    :param usage: cumulative usage, on the piece (usually the last) that reports it.
    :param usage_only: the piece exists only to report usage and carries no choice.
    :param more: another piece came together with this one, so that both can go out together.
    """

    body: Mapping[str, Any]
    native: Sequence[Mapping[str, Any]] = ()
    usage: Usage | None = None
    usage_only: bool = False
    more: bool = False

    @classmethod
    def of(cls, text: str, *, finish_reason: str | None = None, usage: Usage | None = None) -> Chunk:
        """A piece made of plain text: all that a simple streaming provider needs."""
        delta = {"content": text} if text else {}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return cls(body={"object": "chat.completion.chunk", "choices": [choice]}, usage=usage)


@dataclass(frozen=True, slots=True)
class Call:
    """What the gateway hands to a provider: one attempt to make.

    :param model: the model's name at the provider.
    :param request: the caller's request.
    :param headers: trace headers to send along; never a caller's credential or attribution.
    :param deadline: ``time.monotonic()`` value at which to give up; ``None`` for the provider's own.
    """

    model: str
    request: Request
    headers: Mapping[str, str] = field(default_factory=dict)
    deadline: float | None = None

    @property
    def messages(self) -> Sequence[Message]:
        return self.request.messages

    @property
    def parameters(self) -> Mapping[str, Any]:
        return self.request.parameters


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call to one provider, whatever became of it.

    :param number: 1 for the first.
    :param provider: the provider's configured name.
    :param provider_type: the protocol behind it (``openai``, ``anthropic``, …), for pricing.
    :param model: the model's name as sent.
    :param first_chunk_s: seconds to the first piece of a stream; ``None`` when not streamed.
    :param error: `MaesterError.as_dict` of what went wrong.
    :param received: how much of an answer arrived before it went wrong: a beginning of it.
    :param reason: why it was made after another one: ``retry of 1: provider_unavailable``.
    """

    number: int
    provider: str
    provider_type: str
    model: str
    started_at: float
    duration_s: float
    status: Literal["ok", "error", "cancelled"]
    response_model: str | None = None
    response_id: str | None = None
    finish_reason: str | None = None
    usage: Usage | None = None
    service_tier: str | None = None
    first_chunk_s: float | None = None
    error: Mapping[str, Any] | None = None
    received: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class CostLine:
    """One priced unit of one attempt: ``amount_usd = quantity × unit_price_usd``.

    :param attempt: the attempt's number.
    :param unit: what was counted (``input``, ``cache_read``, ``cache_write``, ``cache_write_1h``,
        ``output``, ``reasoning``, ``input_audio``, ``request``, …).
    :param source: where the price row came from; ``version`` and ``valid_from`` say which row.
    """

    attempt: int
    unit: str
    quantity: int
    unit_price_usd: Decimal
    amount_usd: Decimal
    source: str
    version: str
    valid_from: str | None = None


@dataclass(frozen=True, slots=True)
class Cost:
    """What an inference cost.

    Unknown is not zero: ``total_usd`` is ``None`` as soon as one attempt that consumed something
    has no price, and ``unpriced`` says which and why.

    :param estimated: some of the usage was counted here and not reported by the provider.
    """

    total_usd: Decimal | None
    priced: bool
    estimated: bool = False
    lines: tuple[CostLine, ...] = ()
    unpriced: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an evaluator says of an answer.

    :param passed: whether the answer is acceptable to this evaluator.
    :param score: a number, higher is better, when the evaluator has one.
    :param label: a word for the outcome, when the evaluator has one.
    :param explanation: why, for a person.
    """

    passed: bool
    score: float | None = None
    label: str | None = None
    explanation: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """What an evaluator judges: an answer and the request behind it."""

    request: Request
    response: Response

    @property
    def output(self) -> str:
        return self.response.output


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The result of one check. Only ``state == "passed"`` is a pass.

    :param version: that of the evaluator that ran.
    :param config_hash: 16 hex digits that stand for evaluator, version and parameters; empty for a
        check that could not be made sense of.
    :param parameters: what the evaluator is to be told, where the check is still to be run.
    """

    name: str
    evaluator: str
    state: CheckState
    required: bool = True
    score: float | None = None
    label: str | None = None
    explanation: str | None = None
    duration_s: float = 0.0
    version: str = "1"
    config_hash: str = ""
    parameters: Mapping[str, Any] | None = None

    @property
    def passed(self) -> bool | None:
        """``True`` or ``False`` for a verdict, ``None`` where there is none."""
        return {"passed": True, "failed": False}.get(self.state)
