"""What the kit does with a rule: hold it, and say of one that is broken which it is and what to do."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")

WORKERS = 8
"""Threads that call a plugin at once."""


class RuleBroken(AssertionError):
    """A plugin breaks its contract.

    :ivar rule: the rule's name, as the kit's documentation lists it.
    """

    def __init__(self, who: str, rule: str, found: str, remedy: str) -> None:
        super().__init__(f"{who} breaks the rule {rule!r}: {found} {remedy}")
        self.rule = rule


class Rules:
    """The rules that one plugin is held to.

    :param who: the plugin, as messages call it.
    :param allowed: the exceptions that its author asks for.
    :param known: the exceptions that there are.
    :ivar checked: the names of the rules that were checked so far, in order.
    :raises ValueError: when there is no such exception.
    """

    def __init__(self, who: str, allowed: Collection[str] = (), known: Collection[str] = ()) -> None:
        unknown = sorted(set(allowed) - set(known))
        if unknown:
            raise ValueError(f"allow= takes {', '.join(map(repr, sorted(known)))}, not {unknown[0]!r}.")
        self.who = who
        self.checked: dict[str, None] = {}
        self._allowed = frozenset(allowed)

    def allows(self, exception: str) -> bool:
        """Whether the author asked for this exception."""
        return exception in self._allowed

    def hold(self, rule: str, holds: bool, found: str, remedy: str) -> None:
        """Go on if the rule holds.

        :param found: what was found, if it does not.
        :param remedy: what the author of the plugin does about it.
        :raises RuleBroken: if it does not.
        """
        self.checked[rule] = None
        if not holds:
            raise RuleBroken(self.who, rule, found, remedy)

    @contextmanager
    def no_error(self, rule: str, doing: str, remedy: str) -> Iterator[None]:
        """Hold the rule that nothing inside raises.

        :raises RuleBroken: if something does.
        """
        self.checked[rule] = None
        try:
            yield
        except RuleBroken:
            raise
        except Exception as exc:
            raise RuleBroken(self.who, rule, f"{doing} raised {type(exc).__name__}: {exc}.", remedy) from exc

    def named(self, name: object) -> None:
        """Hold the rule about names, which all kinds of plugins share."""
        self.hold(
            "name",
            isinstance(name, str) and bool(name) and name == name.strip() and name.isprintable(),
            f"its name is {name!r}.",
            "Give it an attribute `name`: a text that is not empty, printable and without space at its ends.",
        )


def at_once(work: Callable[[T], object], items: Collection[T]) -> list[object]:
    """What `work` returns for each item, called by several threads at once; or the exception it raised."""

    def guarded(item: T) -> object:
        try:
            return work(item)
        except Exception as exc:  # noqa: BLE001 - the caller decides what is right
            return exc

    with ThreadPoolExecutor(WORKERS, thread_name_prefix="maester-testing") as pool:
        return list(pool.map(guarded, items))
