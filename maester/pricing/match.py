"""Rules that say which model names a price is for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from maester.errors import PricingError

Test = Callable[[str], bool]

_KIND_ORDER = {"exact": 0, "prefix": 1, "regex": 2}
_CLAUSES = 3


@dataclass(frozen=True, slots=True)
class Rule:
    """A compiled rule: lowercase names that it takes as they are, and a test for all others."""

    names: frozenset[str] = frozenset()
    tests: tuple[Test, ...] = field(default=())

    def matches(self, name: str) -> bool:
        """Whether the rule takes a lowercase name."""
        return name in self.names or any(test(name) for test in self.tests)


def compile_rule(match: str, model: str) -> Rule:
    """Compile `Price.match` and `Price.model`.

    :raises PricingError: when it is no rule.
    """
    if match == "exact":
        return Rule(frozenset((model.lower(),)))
    if match == "prefix":
        beginning = model.lower()
        return Rule(tests=(lambda name: name.startswith(beginning),))
    if match == "regex":
        return Rule(tests=(_regex(model, model, re.IGNORECASE, whole=True),))
    if match.startswith("{"):
        try:
            clause = orjson.loads(match)
        except orjson.JSONDecodeError as exc:
            raise PricingError(f"The match rule of {model!r} is not JSON: {exc}") from exc
        return _clause(clause, model)
    raise PricingError(
        f"The match rule of {model!r} is {match!r};"
        " it must be exact, prefix, regex or a JSON object of clauses."
    )


def precedence(match: str, model: str, position: int) -> tuple[int, int, int]:
    """Sorts the rules of one source: the first that matches a name is taken."""
    return position, _KIND_ORDER.get(match, _CLAUSES), -len(model)


def _clause(clause: Any, model: str) -> Rule:
    if not isinstance(clause, Mapping) or len(clause) != 1:
        raise PricingError(f"A clause of the match rule of {model!r} must have exactly one key: {clause!r}")
    ((kind, value),) = clause.items()
    if kind in ("or", "and"):
        if not isinstance(value, list) or not value:
            raise PricingError(f"{kind!r} in the match rule of {model!r} needs a list of clauses.")
        rules = [_clause(part, model) for part in value]
        if kind == "or":
            names = frozenset().union(*(rule.names for rule in rules))
            return Rule(names, tuple(test for rule in rules for test in rule.tests))
        return Rule(tests=(lambda name: all(rule.matches(name) for rule in rules),))
    if not isinstance(value, str):
        raise PricingError(f"{kind!r} in the match rule of {model!r} needs a text.")
    text = value.lower()
    if kind == "equals":
        return Rule(frozenset((text,)))
    if kind == "regex":
        return Rule(tests=(_regex(value, model, 0, whole=False),))
    tests: dict[str, Test] = {
        "starts_with": lambda name: name.startswith(text),
        "ends_with": lambda name: name.endswith(text),
        "contains": lambda name: text in name,
    }
    if kind not in tests:
        raise PricingError(f"The match rule of {model!r} has an unknown clause {kind!r}.")
    return Rule(tests=(tests[kind],))


def _regex(pattern: str, model: str, flags: int, *, whole: bool) -> Test:
    """Compiled at its first use: of thousands of rules a process needs few."""
    compiled: list[Callable[[str], Any]] = []

    def test(name: str) -> bool:
        if not compiled:
            try:
                expression = re.compile(pattern, flags)
            except re.error as exc:
                raise PricingError(f"The match rule of {model!r} is no regular expression: {exc}") from exc
            compiled.append(expression.fullmatch if whole else expression.search)
        return compiled[0](name) is not None

    return test
