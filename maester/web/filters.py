"""Query parameters of ``GET /v1/inferences``: what they are, and how they are read."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from werkzeug.datastructures import MultiDict

from maester.errors import InvalidRequest
from maester.ledger.queries import CURSOR, LARGEST_PAGE, STATUSES, VERDICTS, Filter

from .paging import check_names

Json = dict[str, Any]

DEFAULT_LIMIT = 50
MAX_TEXT = 512
MAX_TAGS = 8

_AGO = re.compile(r"([0-9]{1,6})([smhdw])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_LATEST = 253_402_300_799.0
"""The last second of the year 9999."""


def _parameter(name: str, description: str, schema: Json) -> Json:
    return {"name": name, "in": "query", "description": description, "schema": schema}


_TEXT: Json = {"type": "string", "maxLength": MAX_TEXT, "pattern": r"^[^\x00]*$"}
_TAG: Json = {"type": "string", "maxLength": MAX_TEXT, "pattern": r"^[^=\x00][^\x00]*$"}
MOMENT: Json = {
    "anyOf": [
        {"type": "string", "pattern": r"^[1-9][0-9]{0,5}[smhdw]$"},
        {
            "type": "string",
            "pattern": (
                r"^20[0-9]{2}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])"
                r"(T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]Z)?$"
            ),
        },
        {"type": "number", "minimum": 0, "maximum": 253_402_300_799},
    ]
}

FILTERS: tuple[Json, ...] = (
    _parameter("since", "From when on: ISO 8601, seconds since the epoch, or how long ago (`15m`).", MOMENT),
    _parameter("until", "Before when, in the same forms.", MOMENT),
    _parameter("model", "The model asked for, or the one that answered.", _TEXT),
    _parameter("provider", "The provider's configured name.", _TEXT),
    _parameter("status", "How it ended.", {"enum": list(STATUSES)}),
    _parameter("tag", "`name=value`, or `name` for any value; may be repeated.", _TAG),
    _parameter("key", "The key's id.", _TEXT),
    _parameter("user", "The end user.", _TEXT),
    _parameter("session", "The conversation.", _TEXT),
    _parameter("evaluation", "What the required checks came to.", {"enum": list(VERDICTS)}),
    _parameter(
        "min_cost", "Least cost in USD.", {"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,12})?$"}
    ),
    _parameter("limit", "How many.", {"type": "integer", "minimum": 1, "maximum": LARGEST_PAGE}),
    _parameter("cursor", "`next_cursor` of the page before.", {"type": "string", "pattern": f"^{CURSOR}$"}),
)
"""As the OpenAPI document has them."""

_NAMES = sorted(parameter["name"] for parameter in FILTERS)


@dataclass(frozen=True, slots=True)
class Listing:
    """What is to be listed."""

    filters: Filter
    limit: int
    cursor: str | None


def read_listing(query: MultiDict[str, str]) -> Listing:
    """The parameters of a listing, checked and typed.

    :raises InvalidRequest: naming the parameter at fault.
    """
    check_names(query, *_NAMES, repeated="tag")
    words: Json = {
        "status": _word(query, "status", STATUSES),
        "evaluation": _word(query, "evaluation", VERDICTS),
    }
    texts: Json = {name: _text(query, name) for name in ("model", "provider", "key", "user", "session")}
    filters = Filter(
        since=moment(query, "since"),
        until=moment(query, "until"),
        min_cost=_amount(query, "min_cost"),
        tags=_tags(query),
        **texts,
        **words,
    )
    return Listing(filters, _limit(query), query.get("cursor"))


def moment(query: Mapping[str, str], name: str) -> float | None:
    """Seconds since the epoch, from any of the forms in which a moment can be said."""
    text = query.get(name)
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return time.time() - int(ago[1]) * _SECONDS[ago[2]]
    try:
        seconds = float(text)
    except ValueError:
        seconds = _iso(text, name)
    if not math.isfinite(seconds) or not 0 <= seconds <= _LATEST:
        raise InvalidRequest(f"`{name}` is not within the years 1970 to 9999.", param=name)
    return seconds


def _iso(text: str, name: str) -> float:
    try:
        # A plus sign that was not escaped in the address arrives as a space.
        parsed = datetime.fromisoformat(re.sub(r" (?=\d\d:?\d\d$)", "+", text))
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError) as exc:
        raise InvalidRequest(
            f"`{name}` must be ISO 8601 (2026-01-31T12:00:00Z), seconds since the epoch, or how long ago"
            " (15m, 2h, 7d).",
            param=name,
        ) from exc


def _text(query: Mapping[str, str], name: str) -> str | None:
    value = query.get(name)
    if not value:
        return None
    _check(value, name)
    return value


def _check(value: str, name: str) -> None:
    if len(value) > MAX_TEXT or "\x00" in value:
        raise InvalidRequest(f"`{name}` must be a text of at most {MAX_TEXT} characters.", param=name)


def _word(query: Mapping[str, str], name: str, words: tuple[str, ...]) -> str | None:
    value = query.get(name)
    if value is None:
        return None
    if value not in words:
        raise InvalidRequest(f"`{name}` must be one of: {', '.join(words)}.", param=name)
    return value


def _amount(query: Mapping[str, str], name: str) -> Decimal | None:
    value = query.get(name)
    if value is None:
        return None
    try:
        amount = Decimal(value) if len(value) <= 40 else None
    except InvalidOperation:
        amount = None
    if amount is None or not amount.is_finite() or not 0 <= amount < 1_000_000:
        raise InvalidRequest(f"`{name}` must be an amount in USD, such as 0.05.", param=name)
    return amount


def _tags(query: MultiDict[str, str]) -> dict[str, str]:
    """Names with their values; an empty value means any."""
    found: dict[str, str] = {}
    for tag in query.getlist("tag"):
        _check(tag, "tag")
        name, _, value = tag.partition("=")
        if not name:
            raise InvalidRequest("`tag` must be name=value, or the name alone.", param="tag")
        if found.setdefault(name, value) != value:
            raise InvalidRequest(f"`tag` gives {name!r} two values.", param="tag")
    if len(found) > MAX_TAGS:
        raise InvalidRequest(f"At most {MAX_TAGS} tags can be asked for at once.", param="tag")
    return found


def _limit(query: Mapping[str, str]) -> int:
    value = query.get("limit")
    if value is None:
        return DEFAULT_LIMIT
    if not (value.isascii() and value.isdigit() and len(value) < 8 and 1 <= int(value) <= LARGEST_PAGE):
        raise InvalidRequest(f"`limit` must be a whole number from 1 to {LARGEST_PAGE}.", param="limit")
    return int(value)
