"""Price sources that each break one rule, which the kit must name; and one that breaks none."""

from __future__ import annotations

import contextlib
import itertools
import socket
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from maester.contracts import Price
from maester.testing import RuleBroken, check_pricing_source

INPUT = Price("acme", "acme-1", "input", Decimal("0.000001"), valid_from=datetime(2025, 1, 1, tzinfo=UTC))
OUTPUT = replace(INPUT, unit="output", amount_usd=Decimal("0.000002"))


class Sound:
    name: Any = "sound"
    version: Any = "2026-01"
    listed: Any = (INPUT, OUTPUT)

    def prices(self) -> Iterable[Price]:
        return list(self.listed)


def listing(*prices: Any) -> type[Sound]:
    class Listing(Sound):
        listed = prices

    return Listing


class Named(Sound):
    name = ""


class Versioned(Sound):
    version = 3


class Ticking(Sound):
    ticks = itertools.count()

    @property
    def version(self) -> str:  # type: ignore[override]
        return str(next(self.ticks))


class Failing(Sound):
    def prices(self) -> Iterable[Price]:
        raise OSError("no file")


class Varying(Sound):
    ticks = itertools.count(1)

    def prices(self) -> Iterable[Price]:
        return [replace(INPUT, amount_usd=Decimal(next(self.ticks))), OUTPUT]


class Asking(Sound):
    def prices(self) -> Iterable[Price]:
        with contextlib.suppress(OSError), socket.socket() as asked:
            asked.settimeout(0.1)
            asked.connect(("127.0.0.1", 9))
        return super().prices()


class Live(Sound):
    stored = False


BROKEN: list[tuple[str, type[Sound]]] = [
    ("name", Named),
    ("version", Versioned),
    ("stable version", Ticking),
    ("prices", Failing),
    ("prices", listing()),
    ("prices", listing({"unit": "input"})),
    ("no network", Asking),
    ("exact amounts", listing(replace(INPUT, amount_usd=0.1))),  # type: ignore[arg-type]
    ("amounts", listing(replace(INPUT, amount_usd=Decimal(-1)))),
    ("amounts", listing(replace(INPUT, amount_usd=Decimal("NaN")))),
    ("units", listing(replace(INPUT, unit="tokens"))),
    ("dates", listing(replace(INPUT, valid_from=datetime(2026, 1, 1)))),
    ("dates", listing(replace(INPUT, valid_to=INPUT.valid_from))),
    ("deterministic", Varying),
    ("no duplicates", listing(INPUT, OUTPUT, replace(INPUT, amount_usd=Decimal(2)))),
    ("loads", listing(INPUT, replace(OUTPUT, match="glob"))),
    ("charges", listing(INPUT)),
]


@pytest.mark.parametrize(
    ("rule", "broken"), BROKEN, ids=[f"{rule} {number}" for number, (rule, _) in enumerate(BROKEN)]
)
def test_a_broken_rule_is_named(rule: str, broken: type[Sound]) -> None:
    with pytest.raises(RuleBroken) as caught:
        check_pricing_source(broken(), model="acme/acme-1")
    assert caught.value.rule == rule, str(caught.value)


@pytest.mark.parametrize("sound", [Sound, Live])
def test_a_sound_source_keeps_every_rule(sound: type[Sound]) -> None:
    assert set(check_pricing_source(sound())) == {rule for rule, _ in BROKEN}


def test_fetching_can_be_allowed() -> None:
    assert "no network" not in check_pricing_source(Asking(), allow=["network"])
