"""What a plugin implements: the protocols of providers, price sources, evaluators, stages, sinks.

They are structural: a plugin inherits nothing. What a protocol marks as optional is looked up with
``getattr`` once, at start. Objects are shared by all threads and greenlets of a process, so they
keep no state of a request.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any, Protocol, runtime_checkable

from .model import Call, Chunk, Inference, Request, Response, Sample, Verdict


class Slot(IntEnum):
    """Where in the chain a stage stands. Configuration disables stages; it never reorders slots."""

    TRACE = 100
    GATEWAY = 200
    METER = 300
    EVALUATE = 400
    LOG = 500


@runtime_checkable
class Provider(Protocol):
    """A place that answers requests.

    Optional members beside `generate`:

    - ``stream(call: Call) -> Iterator[Chunk]``: the answer in pieces, the last one reporting usage.
      Without it a streamed request gets `generate`'s answer in one piece.
    - ``embed(call: Call) -> Response``: embeddings; ``body`` is OpenAI's ``list`` object.
    - ``type: str``: the protocol family (``openai``, ``anthropic``, …); the name unless given.
    - ``price_as: str``: the provider family whose prices apply (``aws``, …); the name unless given. Which
      models there are is then for `models` to say, since that family may call them otherwise.
    - ``models() -> Iterable[str]``: models to list; an empty list unless given.
    - ``dialect: str``: the wire format it speaks, ``openai`` unless given; what a caller's own format
      can say and this one cannot is refused before the provider is asked.
    - ``timeout_s: float``: seconds for one attempt, 600 unless given.
    - ``close() -> None``: called once, when the process ends.

    All raise `ProviderError` (or `InvalidRequest` for what the provider cannot take) and nothing
    else; anything else is wrapped as `InternalError`.
    """

    name: str

    def generate(self, call: Call) -> Response:
        """Answer a request in one piece."""
        ...


@dataclass(frozen=True, slots=True)
class Price:
    """What one unit of one model costs, from when on, and under which conditions.

    :param provider: the provider family the price belongs to (``openai``, ``anthropic``, …).
    :param model: the model's name, or a pattern as ``match`` says.
    :param unit: the name of a unit, as in `CostLine.unit`.
    :param amount_usd: USD for one unit (one token, one request), exact.
    :param valid_from: first moment of validity (UTC), ``None`` for ever since.
    :param valid_to: first moment of no validity any more, ``None`` for until replaced.
    :param service_tier: the billed tier it applies to (``flex``, ``batch``, …), ``None`` for standard.
    :param above_input_tokens: applies to the whole request when it has more input tokens than this.
    :param match: ``exact``, ``prefix`` or ``regex`` (of the whole name): how ``model`` is compared,
        without regard to case. Or a JSON object of clauses (``equals``, ``starts_with``,
        ``ends_with``, ``contains``, ``regex``, and ``and`` / ``or`` over a list of them); ``model`` is
        then only what the rule is called.
    :param position: among the rules of one source that match the same name, the lowest is taken; at
        the same position an exact name comes before a pattern, a longer prefix before a shorter.
    :param conditions: what else must hold: ``time_of_day`` as ``HH:MM:SS/HH:MM:SS`` (UTC, the end not
        included). A price under a condition of any other name is kept and shown, never charged.
    """

    provider: str
    model: str
    unit: str
    amount_usd: Decimal
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    service_tier: str | None = None
    above_input_tokens: int = 0
    match: str = "exact"
    position: int = 0
    conditions: Mapping[str, str] = field(default_factory=dict)


@runtime_checkable
class PricingSource(Protocol):
    """Something that fills the price book. Never called while a request is served.

    ``name`` and ``version`` are recorded with every price row, and so with every cost.

    Optional member: ``stored: bool``. ``True`` unless given: the prices are copied into the ledger's
    database at the first start and by ``maester prices update``, which keep their history. A source
    that says ``False`` is read at every start and leaves nothing behind. ``timeout_s: float``: seconds
    for listing them, 30 unless given.
    """

    name: str

    @property
    def version(self) -> str:
        """Which edition of the source this is."""
        ...

    def prices(self) -> Iterable[Price]:
        """Every price that the source knows."""
        ...


@runtime_checkable
class Evaluator(Protocol):
    """A check of an answer.

    Optional members: ``version: str`` ("1" unless given), ``schema``: a marshmallow Schema class for
    ``parameters``, which are then validated when the configuration is read and when a request asks,
    ``timeout_s: float``, the seconds it may take for one answer.
    """

    name: str

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict | bool:
        """Judge an answer.

        :returns: a verdict, or just whether it passed.
        :raises Exception: anything; it becomes the state ``error``, which is never a pass.
        """
        ...


@runtime_checkable
class Stage(Protocol):
    """A step of the chain.

    Optional members: ``critical: bool`` (``False`` unless given; the failure of a critical stage
    fails the request, any other's is a fault), ``on_chunk(inference, chunk) -> None``, called for
    every piece of a stream, ``timeout_s: float``, the seconds it may take, and ``bind(runtime) -> None``,
    called once at start. Any stage may refuse the request by raising one of `errors.REFUSALS`.
    """

    name: str

    def run(self, inference: Inference) -> None:
        """Do the stage's work on one inference."""
        ...


@runtime_checkable
class Sink(Protocol):
    """Where finished inferences go.

    Optional members: ``admit(inference: Inference) -> None``, called before any provider is: one of
    `errors.REFUSALS` refuses the request, anything else from a plugin's is a fault; ``timeout_s: float``,
    seconds for either, 5 unless given; ``bind(runtime) -> None``, called once at start; ``start() -> None``,
    called in every process that serves; ``flush(timeout_s: float) -> bool``, waits until what was
    settled is delivered; ``close() -> None``; ``evaluated(record, results) -> None``, called when checks
    have run over an inference that was settled before: with the record as it stands now and the new
    results, both as plain JSON values.
    """

    name: str

    def settle(self, record: Mapping[str, Any]) -> None:
        """Take one finished inference.

        :param record: plain JSON values, as ``docs/http-api.md`` describes for
            ``GET /v1/inferences/{id}``. Shared between sinks: not to be changed.
        """
        ...


__all__ = [
    "Call",
    "Chunk",
    "Evaluator",
    "Inference",
    "Price",
    "PricingSource",
    "Provider",
    "Request",
    "Response",
    "Sample",
    "Sink",
    "Slot",
    "Stage",
    "Verdict",
]
