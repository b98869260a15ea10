from __future__ import annotations

import base64
import json
import math
import struct
import time
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maester import errors
from maester.model import Call, Chunk, Request, Usage
from maester.providers.echo import Echo
from maester.providers.sample import Unsampled, sample
from maester.settings import ProviderSettings

HELLO = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello there, world"}]


def echo(**options: Any) -> Echo:
    return Echo(ProviderSettings("echo", "echo", options=options))


def call(messages: Any = HELLO, deadline: float | None = None, **parameters: Any) -> Call:
    return Call("any", Request("any", messages, parameters=parameters), deadline=deadline)


def embedding_call(given: Any, **parameters: Any) -> Call:
    return Call("any", Request("any", operation="embeddings", input=given, parameters=parameters))


def text_of(chunks: list[Chunk], index: int = 0) -> str:
    choices = (choice for chunk in chunks for choice in chunk.body["choices"] if choice["index"] == index)
    return "".join(choice["delta"].get("content") or "" for choice in choices)


def test_it_repeats_the_last_user_message_and_counts() -> None:
    response = echo().generate(call())
    assert (response.output, response.finish_reason, response.model) == ("Hello there, world", "stop", "any")
    assert response.usage == Usage(input_tokens=7, output_tokens=4)
    assert response.body["usage"]["prompt_tokens"] == 7
    assert response.body["choices"][0]["message"]["content"] == "Hello there, world"


def test_the_same_request_gets_the_same_answer_under_another_id() -> None:
    first, second = echo().generate(call()), echo().generate(call())
    assert (first.output, first.usage) == (second.output, second.usage)
    assert first.id != second.id


@pytest.mark.parametrize(
    ("messages", "text"),
    [
        ([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "a"),
        ([{"role": "user", "content": "a"}, {"role": "user", "content": "b"}], "b"),
        ([{"role": "system", "content": "s"}], "s"),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            "a\nb",
        ),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "[image_url]"),
        ([{"role": "user", "content": None}], ""),
        ([], ""),
        (["nonsense"], ""),
    ],
)
def test_what_is_repeated(messages: Any, text: str) -> None:
    assert echo().generate(call(messages)).output == text


@given(st.text(max_size=200), st.one_of(st.none(), st.integers(1, 20)))
def test_a_stream_says_what_the_whole_answer_says(text: str, limit: int | None) -> None:
    request = call([{"role": "user", "content": text}], max_tokens=limit)
    whole, chunks = echo().generate(request), list(echo().stream(request))
    assert text_of(chunks) == whole.output
    assert chunks[-1].usage == whole.usage
    assert chunks[-1].usage_only
    assert chunks[-2].body["choices"][0]["finish_reason"] == whole.finish_reason


def test_it_streams_word_by_word() -> None:
    chunks = list(echo().stream(call()))
    said = [choice["delta"].get("content") for chunk in chunks for choice in chunk.body["choices"]]
    assert said == ["", "Hello ", "there, ", "world", None]
    assert {chunk.body["id"] for chunk in chunks} == {chunks[0].body["id"]}


@pytest.mark.parametrize(
    ("parameters", "text", "reason"),
    [
        ({"max_tokens": 2}, "Hello there", "length"),
        ({"max_completion_tokens": 3}, "Hello there,", "length"),
        ({"max_tokens": 4}, "Hello there, world", "stop"),
        ({"stop": ","}, "Hello there", "stop"),
        ({"stop": ["world", "there"]}, "Hello ", "stop"),
        ({"temperature": 2, "seed": 1, "top_p": None, "logprobs": False}, "Hello there, world", "stop"),
    ],
)
def test_what_cuts_an_answer(parameters: dict[str, Any], text: str, reason: str) -> None:
    response = echo().generate(call(**parameters))
    assert (response.output, response.finish_reason) == (text, reason)


def test_several_choices() -> None:
    response = echo().generate(call(n=3))
    assert [choice["index"] for choice in response.body["choices"]] == [0, 1, 2]
    assert response.usage == Usage(7, 12)
    chunks = list(echo().stream(call(n=2)))
    assert text_of(chunks, 1) == "Hello there, world"


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"logprobs": True}, "logprobs"),
        ({"modalities": ["audio"]}, "modalities"),
        ({"never_heard_of": 1}, "never_heard_of"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice"),
        ({"response_format": {"type": "xml"}}, "response_format"),
    ],
)
def test_what_it_has_no_equivalent_of_is_refused(parameters: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.UnsupportedParameter) as caught:
        echo().generate(call(**parameters))
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("parameters", "param"),
    [
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"n": 0}, "n"),
        ({"n": 10_000_000}, "n"),
        ({"n": True}, "n"),
        ({"stop": 5}, "stop"),
        ({"service_tier": 5}, "service_tier"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"echo": 5}, "echo"),
        ({"echo": {"speed": 1}}, "echo.speed"),
        ({"echo": {"delay_s": -1}}, "echo.delay_s"),
        ({"echo": {"delay_s": math.inf}}, "echo.delay_s"),
        ({"echo": {"fail": "badly"}}, "echo.fail"),
        ({"echo": {"fail": ["x"]}}, "echo.fail"),
        ({"echo": {"truncate": 1.5}}, "echo.truncate"),
        ({"echo": {"output": 5}}, "echo.output"),
        ({"echo": {"usage": {"tokens": 5}}}, "echo.usage"),
    ],
)
def test_what_is_wrong_is_named(parameters: dict[str, Any], param: str) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        echo().generate(call(**parameters))
    assert caught.value.param == param


def test_a_wrong_option_in_the_configuration_is_named() -> None:
    with pytest.raises(errors.ConfigError, match=r"providers\.echo\.options\.speed is not an option"):
        echo(speed=1)


@pytest.mark.parametrize(
    ("fail", "kind"),
    [
        ("rate_limited", errors.ProviderRateLimited),
        ("unavailable", errors.ProviderUnavailable),
        ("timeout", errors.ProviderTimeout),
        ("auth", errors.ProviderAuth),
        ("rejected", errors.ProviderRejected),
        ("bad_response", errors.BadProviderResponse),
    ],
)
def test_it_fails_as_told(fail: str, kind: type[errors.ProviderError]) -> None:
    with pytest.raises(kind) as caught:
        echo(fail=fail).generate(call())
    assert type(caught.value) is kind
    with pytest.raises(kind):
        next(echo().stream(call(echo={"fail": fail})))
    with pytest.raises(kind):
        echo(fail=fail).embed(embedding_call("x"))


def test_the_request_overrides_the_configuration() -> None:
    assert echo(fail="auth").generate(call(echo={"fail": None, "output": "Fixed."})).output == "Fixed."


def test_it_breaks_off_as_told() -> None:
    chunks: list[Chunk] = []
    with pytest.raises(errors.BadProviderResponse) as caught:
        chunks.extend(echo().stream(call(echo={"truncate": 3})))
    assert text_of(chunks) == caught.value.received == "Hello there, "
    with pytest.raises(errors.BadProviderResponse) as caught:
        echo(truncate=1).generate(call())
    assert caught.value.received == "Hello "


def test_it_reports_usage_as_told() -> None:
    told = {"input_tokens": 1200, "cache_read_tokens": 1000}
    assert echo(usage=told).generate(call()).usage == Usage(1200, 4, cache_read_tokens=1000)
    response = echo(usage=False).generate(call())
    assert response.usage is None
    assert "usage" not in response.body
    assert all(chunk.usage is None for chunk in echo(usage=False).stream(call()))


def test_a_delay_past_the_deadline_is_a_timeout() -> None:
    with pytest.raises(errors.ProviderTimeout):
        echo(delay_s=60).generate(call(deadline=time.monotonic() + 0.05))
    patient = Echo(ProviderSettings("echo", "echo", first_byte_timeout_s=0.05, options={"delay_s": 60}))
    with pytest.raises(errors.ProviderTimeout):
        next(patient.stream(call()))
    assert echo(delay_s=0.01, chunk_delay_s=0.01).generate(call()).output


def test_the_service_tier_is_the_one_asked_for() -> None:
    response = echo().generate(call(service_tier="flex"))
    assert response.service_tier == response.body["service_tier"] == "flex"
    assert next(echo().stream(call(service_tier="flex"))).body["service_tier"] == "flex"


TOOLS = [
    {"type": "function", "function": {"name": "first"}},
    {
        "type": "function",
        "function": {
            "name": "second",
            "parameters": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
                "required": ["text", "count"],
            },
        },
    },
]


def test_tools_are_called_only_on_demand() -> None:
    assert echo().generate(call(tools=TOOLS)).finish_reason == "stop"
    demanded = echo().generate(call(tools=TOOLS, tool_choice="required"))
    assert demanded.body["choices"][0]["message"]["tool_calls"][0]["function"]["name"] == "first"
    assert (demanded.output, demanded.finish_reason) == ("", "tool_calls")
    named = call(tools=TOOLS, tool_choice={"type": "function", "function": {"name": "second"}})
    called = echo().generate(named).body["choices"][0]["message"]["tool_calls"][0]
    assert json.loads(called["function"]["arguments"]) == {"text": "Hello there, world", "count": 1}
    deltas = [choice["delta"] for chunk in echo().stream(named) for choice in chunk.body["choices"]]
    assert deltas[1]["tool_calls"] == [{"index": 0, **called}]


def test_json_answers() -> None:
    assert json.loads(echo().generate(call(response_format={"type": "json_object"})).output) == {
        "echo": "Hello there, world"
    }
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}
    assert json.loads(echo().generate(call(response_format=wanted)).output) == {"ok": False}
    wanted["json_schema"]["schema"] = {"type": "string", "pattern": "^a+$"}  # type: ignore[index]
    with pytest.raises(errors.UnsupportedParameter, match="pattern"):
        echo().generate(call(response_format=wanted))


@pytest.mark.parametrize(
    "schema",
    [
        {},
        True,
        {"type": "string", "minLength": 30, "maxLength": 40},
        {"type": "string", "maxLength": 3},
        {"type": ["integer", "null"], "minimum": 5},
        {"type": "number", "exclusiveMinimum": 5, "maximum": 9},
        {"type": "integer", "maximum": -5},
        {"type": "integer", "exclusiveMaximum": 0},
        {"type": "array", "items": {"type": "null"}, "minItems": 2},
        {"const": {"a": 1}},
        {"enum": ["x", "y"]},
        {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        {"allOf": [{"type": "boolean"}]},
        {"properties": {"a": {"$ref": "#/$defs/b"}}, "required": ["a"], "$defs": {"b": {"type": "integer"}}},
        {"type": "object", "required": ["x"], "additionalProperties": {"type": "string"}},
    ],
)
def test_a_sample_fits_its_schema(schema: Any) -> None:
    jsonschema_rs.validate(schema, sample(schema, "Hello"))


@pytest.mark.parametrize(
    "schema",
    [
        False,
        7,
        {"type": "tuple"},
        {"type": "string", "format": "date"},
        {"enum": []},
        {"anyOf": 5},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": "5"},
        {"type": "object", "required": 5},
        {"type": "object", "properties": [1]},
        {"type": "integer", "minimum": "5"},
        {"$ref": "#/missing"},
        {"$ref": "http://elsewhere/schema"},
        {"$ref": "#"},
        {"type": "array", "minItems": 9000, "items": {"type": "array", "minItems": 9000}},
    ],
)
def test_a_schema_beyond_simple_rules_says_so(schema: Any) -> None:
    with pytest.raises(Unsampled):
        sample(schema, "Hello")


def test_embeddings_are_unit_vectors_of_the_text() -> None:
    body = echo().embed(embedding_call(["a", "b", "a"])).body
    vectors = [item["embedding"] for item in body["data"]]
    assert [len(vector) for vector in vectors] == [256] * 3
    assert vectors[0] == vectors[2] != vectors[1]
    assert sum(number * number for number in vectors[0]) == pytest.approx(1, rel=1e-6)
    assert body["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert json.loads(json.dumps(body)) == body


def test_embeddings_in_base64_are_the_same_numbers() -> None:
    plain = echo().embed(embedding_call("a", dimensions=8)).body["data"][0]["embedding"]
    coded = (
        echo().embed(embedding_call("a", dimensions=8, encoding_format="base64")).body["data"][0]["embedding"]
    )
    assert list(struct.unpack("<8f", base64.b64decode(coded))) == plain


@pytest.mark.parametrize("given", ["text", ["text"], [1, 2, 3], [[1, 2], [3]]])
def test_embeddings_take_every_form_of_input(given: Any) -> None:
    response = echo().embed(embedding_call(given))
    assert response.usage is not None
    assert response.usage.input_tokens == (1 if "text" in given else 3)


@pytest.mark.parametrize("given", ["", [], None, 5, [""], ["a", 5], [1.5], [[]], {"a": 1}])
def test_embeddings_of_nothing_are_refused(given: Any) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        echo().embed(embedding_call(given))
    assert caught.value.param == "input"


@pytest.mark.parametrize(
    "parameters", [{"dimensions": 0}, {"dimensions": 10**9}, {"encoding_format": "hex"}, {"other": 1}]
)
def test_embedding_parameters_are_checked(parameters: dict[str, Any]) -> None:
    with pytest.raises(errors.InvalidRequest) as caught:
        echo().embed(embedding_call("a", **parameters))
    assert caught.value.param == next(iter(parameters))
