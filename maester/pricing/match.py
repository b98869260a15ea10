"""Rules that say which model names a price is for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
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


@lru_cache(maxsize=256)
def check_rule(match: str, model: str) -> None:
    """See that `compile_rule` can compile a rule, its regular expressions included.

    :raises PricingError: when it is no rule.
    """
    compile_rule(match, model, eager=True)


def compile_rule(match: str, model: str, *, eager: bool = False) -> Rule:
    """Compile `Price.match` and `Price.model`.

    :param eager: compile regular expressions now, and not each at its first use.
    :raises PricingError: when it is no rule.
    """
    if match == "exact":
        return Rule(frozenset((model.lower(),)))
    if match == "prefix":
        beginning = model.lower()
        return Rule(tests=(lambda name: name.startswith(beginning),))
    if match == "regex":
        return Rule(tests=(_regex(model, model, eager, whole=True),))
    if match.startswith("{"):
        try:
            clause = orjson.loads(match)
        except orjson.JSONDecodeError as exc:
            raise PricingError(f"The match rule of {model!r} is not JSON: {exc}") from exc
        return _clause(clause, model, eager)
    raise PricingError(
        f"The match rule of {model!r} is {match!r};"
        " it must be exact, prefix, regex or a JSON object of clauses."
    )


def precedence(match: str, model: str, position: int) -> tuple[int, int, int]:
    """Sorts the rules of one source: the first that matches a name is taken."""
    return position, _KIND_ORDER.get(match, _CLAUSES), -len(model)


def _clause(clause: Any, model: str, eager: bool) -> Rule:
    if not isinstance(clause, Mapping) or len(clause) != 1:
        raise PricingError(f"A clause of the match rule of {model!r} must have exactly one key: {clause!r}")
    ((kind, value),) = clause.items()
    if kind in ("or", "and"):
        if not isinstance(value, list) or not value:
            raise PricingError(f"{kind!r} in the match rule of {model!r} needs a list of clauses.")
        rules = [_clause(part, model, eager) for part in value]
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
        return Rule(tests=(_regex(value, model, eager),))
    tests: dict[str, Test] = {
        "starts_with": lambda name: name.startswith(text),
        "ends_with": lambda name: name.endswith(text),
        "contains": lambda name: text in name,
    }
    if kind not in tests:
        raise PricingError(f"The match rule of {model!r} has an unknown clause {kind!r}.")
    return Rule(tests=(tests[kind],))


def _regex(pattern: str, model: str, eager: bool, *, whole: bool = False) -> Test:
    """A test by a regular expression; of the many there are a process needs few, so compiled late."""

    @cache
    def compiled() -> Callable[[str], Any]:
        try:
            expression = re.compile(pattern, re.IGNORECASE if whole else 0)
        except re.error as exc:
            raise PricingError(f"The match rule of {model!r} is no regular expression: {exc}") from exc
        return expression.fullmatch if whole else expression.search

    if eager:
        compiled()
    return lambda name: compiled()(name) is not None
