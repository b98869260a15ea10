from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maester.errors import InvalidRequest
from maester.web.attribution import MAX_NAME, MAX_TAGS, MAX_VALUE, attribution_of


@pytest.mark.parametrize(
    ("headers", "tags"),
    [
        (
            {"HTTP_X_MAESTER_TAGS": "team=search, feature=autocomplete,"},
            {"team": "search", "feature": "autocomplete"},
        ),
        ({"HTTP_X_MAESTER_TAGS": "urgent"}, {"urgent": "true"}),
        ({"HTTP_X_MAESTER_TAGS": "city=M%C3%BCnchen"}, {"city": "München"}),
        ({"HTTP_X_MAESTER_TAGS": "city=M\u00c3\u00bcnchen"}, {"city": "München"}),
        ({"HTTP_X_LITELLM_TAGS": "a,b:c,d=e"}, {"a": "true", "b": "c", "d": "e"}),
        ({"HTTP_HELICONE_PROPERTY_USER_TIER": "gold"}, {"user-tier": "gold"}),
        ({"HTTP_X_PORTKEY_METADATA": '{"n": 1, "x": null}'}, {"n": "1"}),
        ({"HTTP_X_LITELLM_TAGS": "k=2", "HTTP_X_MAESTER_TAGS": "k=3"}, {"k": "3"}),
    ],
)
def test_tags_are_read_from_headers(headers: dict[str, str], tags: dict[str, str]) -> None:
    assert attribution_of(headers, {}).tags == tags


def test_the_more_explicit_form_wins() -> None:
    headers = {"HTTP_X_MAESTER_TAGS": "a=header,b=header"}
    found = attribution_of(headers, {"metadata": {"a": "meta", "b": "meta", "c": "meta"}}, {"a": "body"})
    assert found.tags == {"a": "body", "b": "header", "c": "meta"}


@pytest.mark.parametrize(
    ("headers", "body", "user", "session"),
    [
        ({"HTTP_HELICONE_USER_ID": "h"}, {}, "h", None),
        ({"HTTP_X_LITELLM_END_USER_ID": "l"}, {}, "l", None),
        ({"HTTP_X_PORTKEY_METADATA": '{"_user": "p"}'}, {}, "p", None),
        ({"HTTP_HELICONE_USER_ID": "h"}, {"user": "u"}, "u", None),
        ({}, {"safety_identifier": "s"}, "s", None),
        ({"HTTP_HELICONE_SESSION_ID": "s"}, {}, None, "s"),
        ({"HTTP_X_LITELLM_SESSION_ID": "s"}, {}, None, "s"),
        ({"HTTP_X_PORTKEY_TRACE_ID": "s"}, {}, None, "s"),
    ],
)
def test_users_and_sessions_are_read(
    headers: dict[str, str], body: dict[str, Any], user: str | None, session: str | None
) -> None:
    found = attribution_of(headers, body)
    assert (found.user, found.session) == (user, session)


@pytest.mark.parametrize(
    ("headers", "tags"),
    [
        ({"HTTP_X_PORTKEY_METADATA": "{"}, None),
        ({"HTTP_X_PORTKEY_METADATA": "[]"}, None),
        ({"HTTP_X_MAESTER_TAGS": "=x"}, None),
        ({"HTTP_X_MAESTER_TAGS": "a=" + "b" * (MAX_VALUE + 1)}, None),
        ({"HTTP_X_MAESTER_TAGS": "a" * (MAX_NAME + 1)}, None),
        ({"HTTP_HELICONE_USER_ID": "u" * (MAX_VALUE + 1)}, None),
        ({}, {str(number): "" for number in range(MAX_TAGS + 1)}),
        ({}, {"a": 1}),
        ({}, {" ": "x"}),
        ({}, ["a", 5]),
        ({}, "a=b"),
    ],
)
def test_what_cannot_be_kept_is_refused(headers: dict[str, str], tags: Any) -> None:
    with pytest.raises(InvalidRequest):
        attribution_of(headers, {}, tags)


@given(
    st.dictionaries(
        st.text(max_size=200), st.none() | st.booleans() | st.text(max_size=600) | st.lists(st.text())
    )
)
def test_metadata_of_any_kind_is_kept_within_bounds(metadata: dict[str, Any]) -> None:
    tags = attribution_of({}, {"metadata": metadata}).tags
    assert len(tags) <= MAX_TAGS
    for name, value in tags.items():
        assert 0 < len(name) <= MAX_NAME
        assert len(value) <= MAX_VALUE
        assert "\x00" not in name + value
