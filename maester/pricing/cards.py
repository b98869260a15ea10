"""Rate cards: the prices of one model in one tier at one moment, ready to be multiplied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Context, Decimal
from operator import attrgetter

from maester.model import CostLine, Usage

from .rates import DAY_S, FOREVER, Found, Row
from .units import UNITS

EXACT = Context(prec=60)
"""Wide enough that no product or sum of prices is ever rounded."""

STANDARD_TIERS = frozenset({"", "default", "standard", "auto", "on_demand", "on-demand", "unspecified"})
"""What providers call their standard tier. Any other tier has a price of its own or none."""


class Unpriceable(Exception):
    """Why an attempt has no price."""


@dataclass(frozen=True, slots=True)
class Rate:
    """The price of one unit, and where it comes from."""

    unit: str
    amount: Decimal
    source: str
    version: str
    since: str | None


Part = tuple[Rate, Callable[[Usage], int]]


class Card:
    """The prices of all units of one model.

    :param rates: unit → rate.
    """

    __slots__ = ("_input", "_input_parts", "_output", "_output_parts", "_request", "_web_search")

    def __init__(self, rates: dict[str, Rate]) -> None:
        self._input = rates.get("input")
        self._output = rates.get("output")
        self._request = rates.get("request")
        self._web_search = rates.get("web_search")
        self._input_parts = _parts(rates, "input")
        self._output_parts = _parts(rates, "output")

    def charge(self, number: int, usage: Usage) -> list[CostLine]:
        """The lines of one attempt, each token in exactly one of them.

        :param number: the attempt's.
        :raises Unpriceable: when the usage contradicts itself, or a part of it has no price.
        """
        _check(usage)
        lines: list[CostLine] = []
        _charge_side(lines, number, usage.input_tokens, self._input, self._input_parts, usage, "input")
        _charge_side(lines, number, usage.output_tokens, self._output, self._output_parts, usage, "output")
        if usage.web_searches:
            if self._web_search is None:
                raise Unpriceable("web_search has no price")
            lines.append(_line(number, self._web_search, usage.web_searches))
        if self._request is not None:
            lines.append(_line(number, self._request, 1))
        return lines


class Plan:
    """What one model costs in one tier between two moments: a card, or one for each input size.

    :param start: first moment, seconds since the epoch, at which the plan holds.
    :param end: first moment at which it does not any more.
    :param cards: cards with the input size above which each applies, largest first.
    :param reason: why there is no card, where there is none.
    """

    __slots__ = ("_base", "_long", "end", "reason", "start")

    def __init__(
        self, start: float, end: float, cards: Sequence[tuple[int, Card]], reason: str | None = None
    ) -> None:
        self.start = start
        self.end = end
        self.reason = reason
        self._base = cards[-1][1] if cards else None
        self._long = tuple(cards[:-1])

    def charge(self, number: int, usage: Usage) -> list[CostLine]:
        """See `Card.charge`; the card is chosen by the size of the whole input."""
        if self._base is None:
            raise Unpriceable(self.reason or "no price is known")
        for above, card in self._long:
            if usage.input_tokens > above:
                return card.charge(number, usage)
        return self._base.charge(number, usage)


def standard_tier(tier: str | None) -> str | None:
    """A billed tier in lowercase, ``None`` for what providers call their standard one."""
    if tier is None:
        return None
    lower = tier.strip().lower()
    return None if lower in STANDARD_TIERS else lower


def make_plan(found: Sequence[Found], tier: str | None, at: float) -> Plan:
    """Choose the rows that apply.

    For each unit: a price for the tier before a standard one, a source before those after it, within
    a source a price with a time of day before one without, and the latest dated. A unit that has no
    price for the tier is charged its standard price, as long as some unit has one for the tier.

    :param found: what each source knows of the model, in order of precedence.
    :param tier: a tier from `standard_tier`.
    """
    start, end = _span(found, at)
    chosen: dict[str, dict[int, Row]] = {}
    for wanted in dict.fromkeys((tier, None)):
        for hit in found:
            mine: dict[str, list[Row]] = {}
            for row in hit.rows(wanted, at):
                mine.setdefault(row.unit, []).append(row)
            for unit, rows in mine.items():
                chosen.setdefault(unit, _by_size(rows))
        if wanted is not None and not chosen:
            return Plan(start, end, (), f"service tier {tier!r} has no price")
    if not chosen:
        return Plan(start, end, (), "no price is valid at that moment")
    sizes = sorted({0, *(above for rows in chosen.values() for above in rows)}, reverse=True)
    return Plan(start, end, [(size, _card(chosen, size)) for size in sizes])


def _span(found: Sequence[Found], at: float) -> tuple[float, float]:
    """The longest stretch around a moment in which the same rows apply."""
    midnight = at - at % DAY_S
    moments = {-FOREVER, FOREVER}
    for hit in found:
        for row in hit.entry.rows:
            moments.update((row.valid_from, row.valid_to))
            if row.window is not None:
                moments.update((midnight, midnight + DAY_S))
                moments.update(midnight + bound for bound in row.window)
    return max(m for m in moments if m <= at), min(m for m in moments if m > at)


def _by_size(rows: Sequence[Row]) -> dict[int, Row]:
    windowed = [row for row in rows if row.window is not None]
    latest: dict[int, Row] = {}
    for row in windowed or rows:
        known = latest.get(row.above)
        if known is None or row.valid_from >= known.valid_from:
            latest[row.above] = row
    return latest


def _card(chosen: dict[str, dict[int, Row]], size: int) -> Card:
    rates = {}
    for unit, rows in chosen.items():
        below = [above for above in rows if above <= size]
        if below:
            row = rows[max(below)]
            rates[unit] = Rate(unit, row.amount, row.source, row.version, row.since)
    return Card(rates)


def _parts(rates: dict[str, Rate], side: str) -> tuple[Part, ...]:
    """The priced parts of one side; a part that has priced parts of its own leaves them out."""
    parts: list[Part] = []
    for unit in UNITS:
        if unit.side == side and unit.name != side and unit.name in rates:
            parts.append((rates[unit.name], _count(unit.name, unit.usage, rates)))
    return tuple(parts)


def _count(unit: str, usage: str, rates: dict[str, Rate]) -> Callable[[Usage], int]:
    if unit == "cache_write" and "cache_write_1h" in rates:
        return lambda u: u.cache_write_tokens - u.cache_write_1h_tokens
    if unit == "cache_read" and "cache_read_audio" in rates:
        return lambda u: u.cache_read_tokens - u.cache_read_audio_tokens
    if unit == "input_audio" and ("cache_read_audio" in rates or "cache_read" in rates):
        return lambda u: u.input_audio_tokens - u.cache_read_audio_tokens
    return attrgetter(usage)


def _charge_side(
    lines: list[CostLine],
    number: int,
    total: int,
    rate: Rate | None,
    parts: tuple[Part, ...],
    usage: Usage,
    side: str,
) -> None:
    rest = total
    counted = []
    for part, count in parts:
        quantity = count(usage)
        if quantity:
            rest -= quantity
            counted.append(_line(number, part, quantity))
    if rest:
        if rest < 0:
            raise Unpriceable(f"the parts of {side}_tokens come to more than {total}")
        if rate is None:
            raise Unpriceable(f"{side} has no price")
        lines.append(_line(number, rate, rest))
    lines += counted


def _line(number: int, rate: Rate, quantity: int) -> CostLine:
    amount = EXACT.multiply(rate.amount, quantity)
    return CostLine(number, rate.unit, quantity, rate.amount, amount, rate.source, rate.version, rate.since)


def _check(usage: Usage) -> None:
    """Refuse usage that cannot be: a part larger than its whole, or less than nothing.

    :raises Unpriceable: with the first contradiction.
    """
    if usage.input_tokens < 0 or usage.output_tokens < 0 or usage.web_searches < 0:
        raise Unpriceable("a count is negative")
    for part, whole in _WHOLES:
        quantity = getattr(usage, part)
        if quantity and not 0 <= quantity <= getattr(usage, whole):
            raise Unpriceable(f"{part} is {quantity} of {getattr(usage, whole)} {whole}")


_WHOLES = (
    ("cache_read_tokens", "input_tokens"),
    ("cache_write_tokens", "input_tokens"),
    ("cache_write_1h_tokens", "cache_write_tokens"),
    ("input_audio_tokens", "input_tokens"),
    ("cache_read_audio_tokens", "cache_read_tokens"),
    ("cache_read_audio_tokens", "input_audio_tokens"),
    ("input_image_tokens", "input_tokens"),
    ("reasoning_tokens", "output_tokens"),
    ("output_audio_tokens", "output_tokens"),
    ("output_image_tokens", "output_tokens"),
)
