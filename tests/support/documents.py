"""Breaking JSON documents at every place, to see that whoever reads them says so properly."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

NONSENSE: tuple[Any, ...] = (
    None,
    True,
    -1,
    3.5,
    10**30,
    "",
    "nonsense",
    [],
    [[]],
    [None],
    {},
    {"a": 1},
    [{}],
)
"""A value of every JSON type, in forms that careless code trips over."""

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def places(document: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place in a document, as the keys and indices that lead there."""
    yield at
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*at, key))
    elif isinstance(document, list):
        for index, value in enumerate(document):
            yield from places(value, (*at, index))


def replaced(document: Any, place: tuple[Any, ...], value: Any) -> Any:
    """A copy of the document with something else at one place."""
    if not place:
        return value
    changed = copy.deepcopy(document)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    inner[place[-1]] = value
    return changed


def without(document: Any, place: tuple[Any, ...]) -> Any:
    """A copy of the document with nothing at one place."""
    changed = copy.deepcopy(document)
    inner = changed
    for step in place[:-1]:
        inner = inner[step]
    del inner[place[-1]]
    return changed


def broken(document: Any) -> Iterator[Any]:
    """The document with every place in turn missing, or holding every kind of nonsense."""
    for place in places(document):
        if place:
            yield without(document, place)
        for value in NONSENSE:
            yield replaced(document, place, value)
