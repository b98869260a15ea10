"""The evaluator ``tool_call_schema``, alone and in the chain."""

from __future__ import annotations

import json
from typing import Any

import pytest
from maester_jsonschema import ToolCallSchema

import maester
from maester.testing import build_runtime, check_evaluator, sample

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
            "required": ["city", "days"],
            "additionalProperties": False,
        },
    },
}
CLOCK = {"type": "function", "function": {"name": "clock"}}
SHELL = {"type": "custom", "custom": {"name": "shell"}}
TOOLS = [WEATHER, CLOCK, SHELL]
GOOD = ("weather", '{"city": "Oslo", "days": 2}')
DEFAULTS = {"formats": False, "quote": False, "max_errors": 10}


def calling(*calls: tuple[str, str], custom: bool = False, **parameters: Any) -> maester.Sample:
    """An answer that calls tools."""
    kind, content = ("custom", "input") if custom else ("function", "arguments")
    written = [
        {"id": f"call_{number}", "type": kind, kind: {"name": name, content: arguments}}
        for number, (name, arguments) in enumerate(calls)
    ]
    message = {"role": "assistant", "content": None, "tool_calls": written}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}
    return sample("", body=body, parameters={"tools": TOOLS, **parameters})


def judged(one: maester.Sample, **parameters: Any) -> maester.Verdict:
    return ToolCallSchema().evaluate(one, {**DEFAULTS, **parameters})


def test_it_keeps_the_contract_of_evaluators() -> None:
    checked = check_evaluator(
        ToolCallSchema(),
        passing=["No tool is needed.", calling(GOOD), calling(GOOD, ("clock", "{}"))],
        failing=[
            calling(("weather", '{"city": "Oslo"}')),
            calling(("weather", "Oslo")),
            calling(("train", "{}")),
            calling(("clock", "[]")),
            sample("", body=calling(GOOD).response.body),
        ],
        accepted=[{}, {"min_calls": 1, "quote": True, "formats": True, "max_errors": 3}],
        refused=[{"min_calls": -1}, {"min_calls": True}, {"schema": {}}],
    )
    assert checked


@pytest.mark.parametrize(
    ("one", "label", "explanation"),
    [
        (
            calling(("weather", '{"city": 1, "days": 0}')),
            "invalid",
            'call 1: weather /city: value is not of type "string"',
        ),
        (
            calling(GOOD, ("weather", "")),
            "not_json",
            "call 2: weather: its arguments are no JSON. It is empty",
        ),
        (calling(("weather", '{"city":')), "not_json", "Expecting value"),
        (calling(("secret", "{}")), "unknown_tool", "call 1: the request offers no such tool"),
        (calling(("shell", "{}")), "unknown_tool", "no such tool"),
        (calling(GOOD, tool_choice="none"), "unknown_tool", "no such tool"),
        (
            calling(GOOD, tool_choice={"type": "function", "function": {"name": "clock"}}),
            "unknown_tool",
            "no such tool",
        ),
        (calling(GOOD, GOOD, parallel_tool_calls=False), "too_many_calls", "one at a time"),
        (calling(tool_choice="required"), "no_calls", "wanted: 1"),
        (
            calling(tool_choice={"type": "function", "function": {"name": "clock"}}),
            "no_calls",
            "wanted: 1",
        ),
    ],
)
def test_what_is_wrong_is_told(one: maester.Sample, label: str, explanation: str) -> None:
    verdict = judged(one)
    assert (verdict.passed, verdict.label) == (False, label)
    assert explanation in (verdict.explanation or "")
    assert "secret" not in (verdict.explanation or "")


def test_a_tool_that_nobody_offers_is_named_only_where_quoting_is_allowed() -> None:
    assert "'secret'" in (judged(calling(("secret", "{}")), quote=True).explanation or "")


def test_the_score_is_the_part_of_the_calls_that_is_right() -> None:
    assert judged(calling(GOOD, GOOD, GOOD, ("weather", "{}"))).score == 0.75


def test_a_custom_tool_takes_any_text() -> None:
    assert judged(calling(("shell", "ls -l"), custom=True)).passed


def test_calls_can_be_demanded() -> None:
    assert judged(calling()) == maester.Verdict(True, None, "no_calls")
    assert judged(calling(), min_calls=1).label == "no_calls"
    assert judged(calling(GOOD), min_calls=2).label == "invalid"
    allowed = {"mode": "required", "tools": [{"type": "function", "function": {"name": "clock"}}]}
    choice = {"type": "allowed_tools", "allowed_tools": allowed}
    assert judged(calling(tool_choice=choice)).label == "no_calls"
    assert judged(calling(("clock", "{}"), tool_choice=choice)).passed
    assert judged(calling(GOOD, tool_choice=choice)).label == "unknown_tool"


def test_a_tool_with_a_schema_that_cannot_be_used_is_an_error() -> None:
    broken = {"type": "function", "function": {"name": "weather", "parameters": {"type": "nonsense"}}}
    with pytest.raises(maester.MaesterError, match=r"tool 'weather'.*#/type"):
        judged(calling(GOOD, tools=[broken]))


@pytest.mark.parametrize("stream", [False, True])
def test_in_the_chain_also_of_a_stream(stream: bool) -> None:
    request = maester.Request(
        model="echo",
        messages=[{"role": "user", "content": "How is the weather?"}],
        parameters={"tools": [WEATHER], "tool_choice": "required"},
        stream=stream,
        checks=(maester.Check("tool_call_schema", {}),),
    )
    with build_runtime() as runtime:
        if stream:
            answer = runtime.stream(request)
            for _ in answer:
                pass
            inference = answer.inference
        else:
            inference = runtime.execute(request)
    inference.raise_for_error()
    assert inference.response is not None
    (call,) = inference.response.body["choices"][0]["message"]["tool_calls"]
    assert json.loads(call["function"]["arguments"])["days"] >= 1
    assert inference.passed is True
    assert inference.evaluations is not None
    assert inference.evaluations[0].label == "valid"
