"""What a run would send and cost, before it sends anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice

from maester import tokens
from maester.errors import InvalidRequest
from maester.pricing.cards import EXACT

from .estimate import Estimator, output_limit, size_of
from .plan import Plan
from .rows import Input

COUNTED = 200
"""Prompts whose tokens are counted; the others are taken to be as dense as they are."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """An estimate.

    :param rows: how many there are.
    :param unrenderable: of these, those that no prompt can be made of, and the first one's error.
    :param prompts: the first prompts, each with the number of its row.
    :param input_tokens: of all prompts, estimated.
    :param output_tokens: of all answers at most; ``None`` where nothing limits an answer.
    :param input_usd: what the input costs, ``None`` where no price is known.
    :param total_usd: what all of it costs at most; ``None`` where that is not known, or not limited.
    """

    rows: int
    unrenderable: int
    first_error: str | None
    prompts: tuple[tuple[int, str], ...]
    input_tokens: int
    output_tokens: int | None
    input_usd: Decimal | None
    total_usd: Decimal | None


class _Refused:
    """Rows that no prompt can be made of, as they are come across."""

    def __init__(self) -> None:
        self.count = 0
        self.first: str | None = None


def forecast_of(plan: Plan, table: Input, estimator: Estimator, rows: int, shown: int) -> Forecast:
    """Render every row, and count.

    :param rows: how many rows, from the first.
    :param shown: how many prompts are kept to be shown.
    """
    refused = _Refused()
    prompts: list[tuple[int, str]] = []
    sizes = counted = counted_size = asked = 0
    for number, prompt in _prompts(plan, table, rows, refused):
        if len(prompts) < shown:
            prompts.append((number, prompt))
        request = plan.request(prompt)
        size = size_of(request)
        asked += 1
        sizes += size
        if asked <= COUNTED:
            counted_size += size
            counted += tokens.estimate_usage(request, None, "").input_tokens
    input_tokens = -(-counted * sizes // counted_size) if counted_size else 0
    limit = output_limit(plan.parameters)
    each = -(-input_tokens // asked) if asked else 0
    answered = None if limit is None else limit * asked
    input_usd = estimator.cost(each, 0)
    total_usd = None if limit is None else estimator.cost(each, limit)
    return Forecast(
        rows,
        refused.count,
        refused.first,
        tuple(prompts),
        input_tokens,
        answered,
        _times(input_usd, asked),
        _times(total_usd, asked),
    )


def _prompts(plan: Plan, table: Input, rows: int, refused: _Refused) -> Iterator[tuple[int, str]]:
    for row in islice(table.rows(), rows):
        try:
            yield row.number, plan.template.render(row.values)
        except InvalidRequest as exc:
            refused.count += 1
            refused.first = refused.first or f"row {row.number} (line {row.line}): {exc.message}"


def _times(amount: Decimal | None, count: int) -> Decimal | None:
    return None if amount is None else EXACT.multiply(amount, Decimal(count))
