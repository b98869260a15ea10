"""Explanations: a list of problems that stays within bounds."""

from __future__ import annotations

from collections.abc import Sequence

LONGEST = 1900
"""Characters of the longest explanation; Maester keeps 2,000."""


def explain(problems: Sequence[str], max_errors: int, *, complete: bool = True) -> str:
    """How many problems there are, and the first of them.

    :param complete: whether these are all; there may be more where it is false.
    """
    if not problems:
        return "It does not keep to the schema; its size, or the schema's branches, forbid to list why."
    listed: list[str] = []
    length = 0
    for problem in problems[:max_errors]:
        length += len(problem) + 2
        if length > LONGEST:
            break
        listed.append(problem)
    return f"{_counted(len(problems), len(listed), complete)} {'; '.join(listed)}."


def _counted(found: int, shown: int, complete: bool) -> str:
    if not complete:
        return "Of several possible errors the first:"
    if found == 1:
        return "1 error:"
    return f"{found} errors:" if found == shown else f"{found} errors, of which the first {shown}:"
