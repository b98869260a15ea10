"""W3C Trace Context level 2, case by case, and the tracestate parser under arbitrary input."""

from __future__ import annotations

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maester.tracecontext import extract, inject, parse_traceparent, parse_tracestate

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (f"00-{TRACE}-{PARENT}-01", (TRACE, PARENT, 1)),
        (f"00-{TRACE}-{PARENT}-00", (TRACE, PARENT, 0)),
        (f"00-{TRACE}-{PARENT}-03", (TRACE, PARENT, 3)),
        (f"00-{TRACE}-{PARENT}-ff", (TRACE, PARENT, 3)),
        (f" 00-{TRACE}-{PARENT}-01\t", (TRACE, PARENT, 1)),
        (f"cc-{TRACE}-{PARENT}-01", (TRACE, PARENT, 1)),
        (f"cc-{TRACE}-{PARENT}-01-what-the-future-brings", (TRACE, PARENT, 1)),
        (f"cc-{TRACE}-{PARENT}-01.what", None),
        (f"00-{TRACE}-{PARENT}-01-", None),
        (f"00-{TRACE}-{PARENT}-01-what", None),
        (f"ff-{TRACE}-{PARENT}-01", None),
        (f"0-{TRACE}-{PARENT}-01", None),
        (f"000-{TRACE}-{PARENT}-01", None),
        (f".0-{TRACE}-{PARENT}-01", None),
        (f"00-{'0' * 32}-{PARENT}-01", None),
        (f"00-{TRACE}-{'0' * 16}-01", None),
        (f"00-{TRACE.upper()}-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT.upper()}-01", None),
        (f"00-.{TRACE[1:]}-{PARENT}-01", None),
        (f"00-{TRACE}-.{PARENT[1:]}-01", None),
        (f"00-{TRACE[1:]}-{PARENT}-01", None),
        (f"00-{TRACE}0-{PARENT}-01", None),
        (f"00-{TRACE}-{PARENT[1:]}-01", None),
        (f"00-{TRACE}-{PARENT}0-01", None),
        (f"00-{TRACE}-{PARENT}-1", None),
        (f"00-{TRACE}-{PARENT}-001", None),
        (f"00-{TRACE}-{PARENT}-.1", None),
        (f"00-{TRACE}-{PARENT}", None),
        ("", None),
    ],
)
def test_traceparent(header: str, expected: tuple[str, str, int] | None) -> None:
    assert parse_traceparent(header) == expected


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("foo=1", "foo=1"),
        ("foo=1,bar=2", "foo=1,bar=2"),
        ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
        ("foo=1,,bar=2,", "foo=1,bar=2"),
        ("foo=1, ,bar=2", "foo=1,bar=2"),
        ("foo=1,foo=2", "foo=1"),
        ("foo=1,bar=2,foo=3", "foo=1,bar=2"),
        ("0tenant@vendor=1", "0tenant@vendor=1"),
        ("a/b*c-d_e=1", "a/b*c-d_e=1"),
        ("k" * 256 + "=1", "k" * 256 + "=1"),
        ("k" * 257 + "=1", ""),
        ("foo@=1", "foo@=1"),
        ("@foo=1", ""),
        ("foo =1", ""),
        ("FOO=1", ""),
        ("foo.bar=1", ""),
        ("foo", ""),
        ("foo=", ""),
        ("foo=bar=baz", ""),
        ("foo=bar baz", "foo=bar baz"),
        ("foo=" + "v" * 256, "foo=" + "v" * 256),
        ("foo=" + "v" * 257, ""),
        ("foo=é", ""),
        (",".join(f"k{i}=1" for i in range(32)), ",".join(f"k{i}=1" for i in range(32))),
        (",".join(f"k{i}=1" for i in range(33)), ""),
    ],
)
def test_tracestate(header: str, expected: str) -> None:
    assert parse_tracestate(header) == expected


def test_a_malformed_tracestate_does_not_cost_the_trace() -> None:
    context = extract(f"00-{TRACE}-{PARENT}-01", "BAD MEMBER")
    assert (context.trace_id, context.parent_id, context.tracestate) == (TRACE, PARENT, "")


def test_without_a_valid_parent_the_tracestate_is_dropped() -> None:
    context = extract(f"00-{'0' * 32}-{PARENT}-01", "foo=1")
    assert context.parent_id is None
    assert context.tracestate == ""
    assert context.trace_id != "0" * 32
    assert re.fullmatch("[0-9a-f]{32}", context.trace_id)


def test_what_is_sent_on_is_version_00_with_the_same_trace_and_a_new_parent() -> None:
    context = extract(f"cc-{TRACE}-{PARENT}-ff-more", "foo=1,,bar=2")
    headers = inject(context, "00f067aa0ba902b7")
    assert headers == {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-03", "tracestate": "foo=1,bar=2"}


@given(st.text(alphabet=string.printable + "é\x00", max_size=400))
def test_any_tracestate_is_normalised_once_and_for_all(header: str) -> None:
    normal = parse_tracestate(header)
    assert parse_tracestate(normal) == normal


_KEYS = st.from_regex(r"[a-z0-9][a-z0-9_\-*/@]{0,20}", fullmatch=True)
_VALUES = st.from_regex(r"[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,20}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", fullmatch=True)


@given(st.lists(st.tuples(_KEYS, _VALUES.map(str.lstrip)), max_size=32, unique_by=lambda member: member[0]))
def test_well_formed_members_survive_in_their_order(members: list[tuple[str, str]]) -> None:
    header = " , ".join(f"{key}={value}" for key, value in members)
    assert parse_tracestate(header) == ",".join(f"{key}={value}" for key, value in members)


@given(st.text(max_size=80))
def test_any_traceparent_is_read_or_ignored(header: str) -> None:
    parsed = parse_traceparent(header)
    assert parsed is None or len(parsed[0]) == 32
