"""The price data of ``genai-prices``, as dated rows.

Its rules, which the rows keep: of a model's conditional prices the last active one counts; variants
for a request's context replace single units of it; a tiered price applies to the whole request whose
input is larger than the tier's start; the first model whose rule matches a name is taken.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Context, Decimal
from importlib.metadata import version
from typing import Any

import orjson

from maester.contracts import Price
from maester.errors import PricingError

from .match import check_rule

logger = logging.getLogger(__name__)

_PER = {"mtok": 1_000_000, "mchars": 1_000_000, "kcount": 1000, "kpages": 1000, "hours": 1}

_UNITS = {
    "input_mtok": "input",
    "output_mtok": "output",
    "cache_read_mtok": "cache_read",
    "cache_write_mtok": "cache_write",
    "cache_write_1h_mtok": "cache_write_1h",
    "input_audio_mtok": "input_audio",
    "output_audio_mtok": "output_audio",
    "cache_audio_read_mtok": "cache_read_audio",
    "input_image_mtok": "input_image",
    "output_image_mtok": "output_image",
    "cache_image_read_mtok": "cache_read_image",
    "input_video_mtok": "input_video",
    "output_video_mtok": "output_video",
    "output_reasoning_mtok": "reasoning",
    "output_citation_mtok": "citation",
    "web_searches_kcount": "web_search",
    "storage_searches_kcount": "storage_search",
    "requests_kcount": "request",
    "audio_hours": "audio_hour",
    "input_audio_hours": "input_audio_hour",
    "input_mchars": "input_character",
    "input_text_messages_kcount": "input_message",
    "input_document_kpages": "document_page",
    "input_annotated_document_kpages": "annotated_document_page",
}

_TIER_KEYS = {"service_tier", "processing", "speed"}
"""Keys of a request's context that say in which tier it is billed."""

_FREE_SUFFIX = ":free"

_EXACT = Context(prec=60)


@dataclass(frozen=True, slots=True)
class _Span:
    """When some prices apply."""

    valid_from: datetime | None
    valid_to: datetime | None
    conditions: Mapping[str, str]
    tier: str | None = None


class GenaiPrices:
    """The data that the installed ``genai-prices`` carries; nothing is fetched."""

    name = "genai-prices"

    @property
    def version(self) -> str:
        """The installed package's version."""
        return version("genai-prices")

    def prices(self) -> Iterator[Price]:
        """Every price of every provider."""
        from genai_prices.data import providers  # 30,000 lines that only an update needs

        skipped: set[str] = set()
        for provider in providers:
            seen: set[str] = set()
            for position, model in enumerate(provider.models):
                name = f"{provider.id}/{model.id}"
                try:
                    match = _match(model)
                    check_rule(match, model.id)
                except (PricingError, ValueError):
                    skipped.add(f"{name} (its rule)")
                    continue
                if model.id in seen:
                    skipped.add(f"{name} (listed twice)")
                    continue
                seen.add(model.id)
                skipped.update(f"{name} ({what})" for what in _strange(model))
                yield from _distinct(_of_model(provider.id, model, match, position))
        if skipped:
            logger.warning(
                "genai-prices %s lists what this version of Maester cannot read; left out: %s",
                self.version,
                ", ".join(sorted(skipped)),
            )


def unit_of(price_key: str) -> str | None:
    """The unit that a price key of genai-prices prices, ``None`` for a key that is not known here."""
    return _UNITS.get(price_key)


def _distinct(prices: Iterable[Price]) -> Iterable[Price]:
    """Of prices for the same unit, moment and conditions the last, which is the one that counts."""
    return {
        (
            price.unit,
            price.service_tier,
            price.above_input_tokens,
            price.valid_from,
            tuple(sorted(price.conditions.items())),
        ): price
        for price in prices
    }.values()


def _strange(model: Any) -> Iterator[str]:
    """What of a model cannot be read: keys and constraints that newer data may have."""
    conditional = model.prices if isinstance(model.prices, list) else []
    dated = [*conditional, *(model.price_variants or ())]
    sets = [part.prices for part in dated] if conditional else [model.prices, *(v.prices for v in dated)]
    yield from {
        key
        for prices in sets
        for key, value in vars(prices).items()
        if value is not None and key not in _UNITS
    }
    yield from {type(part.constraint).__name__ for part in dated if not _readable(part.constraint)}


def _readable(constraint: Any) -> bool:
    return constraint is None or hasattr(constraint, "start_date") or hasattr(constraint, "start_time")


def _of_model(provider: str, model: Any, match: str, position: int) -> Iterator[Price]:
    if isinstance(model.prices, list):
        readable = [price for price in model.prices if _readable(price.constraint)]
        dated = [(_start(price.constraint), price) for price in readable]
    else:
        dated = [(None, None)]
    empty = True
    for index, (start, conditional) in enumerate(dated):
        prices = model.prices if conditional is None else conditional.prices
        until = _first(later for later, _ in dated[index + 1 :] if later is not None)
        if until is not None and start is not None and until <= start:
            continue
        window = _window(conditional.constraint) if conditional is not None else {}
        span = _Span(start if index else None, until, window)
        for price in _of_prices(provider, model.id, match, position, prices, span):
            empty = False
            yield price
    if empty and model.id.endswith(_FREE_SUFFIX):
        for unit in ("input", "output"):
            yield Price(provider, model.id, unit, Decimal(0), match=match, position=position)
    yield from _of_variants(provider, model, match, position)


def _of_variants(provider: str, model: Any, match: str, position: int) -> Iterator[Price]:
    """Variants of the same context and unit: the first active one counts."""
    starts: dict[tuple[str, str], list[datetime | None]] = {}
    for variant in model.price_variants or ():
        if not _readable(variant.constraint):
            continue
        context = dict(variant.when)
        tier_keys = [key for key in context if key in _TIER_KEYS]
        tier = context.pop(tier_keys[0]) if tier_keys else None
        start = _start(variant.constraint)
        conditions = {**context, **_window(variant.constraint)}
        name = repr((tier, sorted(conditions.items())))
        for key, value in _priced(variant.prices):
            earlier = starts.setdefault((name, key), [])
            if None in earlier:
                continue
            until = _first(moment for moment in earlier if moment is not None)
            earlier.append(start)
            if until is not None and start is not None and until <= start:
                continue
            span = _Span(start, until, conditions, tier)
            yield from _of_value(provider, model.id, match, position, key, value, span)


def _of_prices(
    provider: str, model: str, match: str, position: int, prices: Any, span: _Span
) -> Iterator[Price]:
    for key, value in _priced(prices):
        yield from _of_value(provider, model, match, position, key, value, span)


def _of_value(
    provider: str, model: str, match: str, position: int, key: str, value: Any, span: _Span
) -> Iterator[Price]:
    unit, per = _UNITS[key], _PER[key.rpartition("_")[2]]
    steps = [(0, value)] if isinstance(value, Decimal) else [(0, value.base)]
    if not isinstance(value, Decimal):
        steps += [(tier.start, tier.price) for tier in value.tiers]
    for above, amount in steps:
        yield Price(
            provider=provider,
            model=model,
            unit=unit,
            amount_usd=_EXACT.divide(amount, per),
            valid_from=span.valid_from,
            valid_to=span.valid_to,
            service_tier=span.tier,
            above_input_tokens=above,
            match=match,
            position=position,
            conditions=span.conditions,
        )


def _priced(prices: Any) -> Iterable[tuple[str, Any]]:
    return [(key, value) for key, value in vars(prices).items() if value is not None and key in _UNITS]


def _start(constraint: Any) -> datetime | None:
    start = getattr(constraint, "start_date", None)
    return datetime.combine(start, time(), UTC) if start is not None else None


def _window(constraint: Any) -> dict[str, str]:
    if not hasattr(constraint, "start_time"):
        return {}
    bounds = [_utc(constraint.start_time), _utc(constraint.end_time)]
    return {"time_of_day": "/".join(bound.strftime("%H:%M:%S") for bound in bounds)}


def _utc(moment: time) -> time:
    if moment.tzinfo is None:
        return moment
    return datetime.combine(datetime(1970, 1, 1, tzinfo=UTC), moment).astimezone(UTC).time()


def _first(moments: Iterable[datetime]) -> datetime | None:
    return min(moments, default=None)


def _match(model: Any) -> str:
    """Always as clauses, so that a model which gains an alias keeps its rows."""
    return orjson.dumps(_clause(model.match)).decode()


def _clause(clause: Any) -> dict[str, Any]:
    ((name, value),) = vars(clause).items()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return {name.rstrip("_"): [_clause(part) for part in value]}
    return {name: value}
