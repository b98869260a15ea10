"""The rules as ``docs/plugins.md`` lists them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from maester.evaluators.non_empty import NonEmpty
from maester.pricing import FreePrices
from maester.testing import FakeProvider, check_evaluator, check_pricing_source, check_provider

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text(encoding="utf-8")
OF_FAILURES = {
    "errors",
    "error classes",
    "errors keep content to themselves",
    "errors keep secrets to themselves",
    "deadline",
}


def provider_rules() -> set[str]:
    return {*check_provider(FakeProvider(), model="fake"), *OF_FAILURES, "body says the same"}


def evaluator_rules() -> set[str]:
    return set(check_evaluator(NonEmpty(), passing=["x"], failing=[""], refused=[{"x": 1}]))


def pricing_rules() -> set[str]:
    return set(check_pricing_source(FreePrices(), model="echo/echo"))


@pytest.mark.parametrize(
    ("kind", "rules"),
    [("Providers", provider_rules), ("Evaluators", evaluator_rules), ("Price sources", pricing_rules)],
    ids=["providers", "evaluators", "price sources"],
)
def test_every_rule_is_on_the_page(kind: str, rules: object) -> None:
    paragraph = " ".join(PAGE.partition(f"**{kind}.**")[2].partition("\n\n")[0].split())
    named = set(re.findall(r"`([a-z ]+)`", paragraph))
    missing = rules() - named  # type: ignore[operator]
    assert not missing
