"""``tool_call_schema``: the tool calls of an answer can be carried out as they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import maester
from maester.errors import EvaluationError

from .parameters import ToolCallParameters
from .reading import NotJson, read
from .reporting import explain
from .validators import SchemaError, Undecided, compiled

_NO_PARAMETERS: Mapping[str, Any] = {"type": "object"}


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with one call."""

    label: str
    problems: tuple[str, ...]
    complete: bool = True


class ToolCallSchema:
    """Passes an answer whose tool calls name tools that the request offers, with arguments they accept.

    The formats are those of OpenAI's chat completion: ``tools`` and ``tool_choice`` of the request,
    ``tool_calls`` of the first choice's message. A tool of the type ``custom`` takes any text.
    """

    name = "tool_call_schema"
    version = "1"
    schema = ToolCallParameters

    def evaluate(self, sample: maester.Sample, parameters: Mapping[str, Any]) -> maester.Verdict:
        """Score: the part of the calls that is right.

        Labels: ``valid``, ``no_calls``, ``invalid``, ``not_json``, ``unknown_tool``, ``too_many_calls``.

        :raises EvaluationError: when a tool's own schema cannot be used.
        """
        asked = sample.request.parameters
        calls = list(_calls(sample.response.body))
        least = parameters.get("min_calls", 1 if _demanded(asked.get("tool_choice")) else 0)
        if len(calls) < least:
            return maester.Verdict(
                False, 0.0, "no_calls" if not calls else "invalid", f"Calls: {len(calls)}, wanted: {least}."
            )
        if not calls:
            return maester.Verdict(True, None, "no_calls")
        if len(calls) > 1 and asked.get("parallel_tool_calls") is False:
            explanation = f"Calls: {len(calls)}; the request allows one at a time."
            return maester.Verdict(False, 0.0, "too_many_calls", explanation)
        tools = _offered(asked)
        faults = [_fault(call, tools, parameters) for call in calls]
        wrong = [(number, fault) for number, fault in enumerate(faults, 1) if fault is not None]
        if not wrong:
            return maester.Verdict(True, 1.0, "valid")
        problems = [f"call {number}: {problem}" for number, fault in wrong for problem in fault.problems]
        complete = all(fault.complete for _, fault in wrong)
        explanation = explain(problems, parameters["max_errors"], complete=complete)
        return maester.Verdict(False, 1 - len(wrong) / len(calls), wrong[0][1].label, explanation)


def _fault(
    call: Mapping[str, Any], tools: Mapping[str, Mapping[str, Any]], parameters: Mapping[str, Any]
) -> _Fault | None:
    kind = call.get("type", "function")
    told = call.get(kind)
    name = told.get("name") if isinstance(told, Mapping) else None
    tool = tools.get(name) if isinstance(name, str) else None
    if tool is None or tool.get("type", "function") != kind:
        which = f" {name[:100]!r}" if parameters["quote"] and isinstance(name, str) else ""
        return _Fault("unknown_tool", (f"the request offers no such tool{which}",))
    if kind != "function":
        return None
    arguments = told.get("arguments") if isinstance(told, Mapping) else None
    try:
        validator = compiled(
            tool["function"].get("parameters") or _NO_PARAMETERS,
            formats=parameters["formats"],
            quote=parameters["quote"],
        )
        finding = validator.check(read(arguments if isinstance(arguments, str) else ""))
    except SchemaError as exc:
        raise EvaluationError(f"The schema of the tool {name!r} {exc}.") from exc
    except Undecided as exc:
        raise EvaluationError(f"The schema of the tool {name!r}: {exc}") from exc
    except NotJson as exc:
        return _Fault("not_json", (f"{name}: its arguments are no JSON. {exc}".rstrip("."),))
    if finding is None:
        return None
    if not finding.problems:
        return _Fault("invalid", (f"{name}: its arguments do not keep to the schema",), finding.complete)
    return _Fault("invalid", tuple(f"{name} {problem}" for problem in finding.problems), finding.complete)


def _calls(body: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The tool calls of the first choice."""
    choices: Any = body.get("choices") or ({},)
    message = choices[0].get("message")
    for call in (message.get("tool_calls") or ()) if isinstance(message, Mapping) else ():
        yield call if isinstance(call, Mapping) else {}


def _offered(asked: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The tools that may be called, by name: those of ``tools`` that ``tool_choice`` does not rule out."""
    tools: dict[str, Mapping[str, Any]] = {}
    for tool in asked.get("tools") or ():
        told = tool.get(tool.get("type", "function")) if isinstance(tool, Mapping) else None
        if isinstance(told, Mapping) and isinstance(told.get("name"), str):
            tools[told["name"]] = tool
    choice = asked.get("tool_choice")
    if choice == "none":
        return {}
    allowed = _named(choice)
    return tools if allowed is None else {name: tool for name, tool in tools.items() if name in allowed}


def _named(choice: Any) -> set[Any] | None:
    """Names that ``tool_choice`` limits the calls to, ``None`` where it limits nothing."""
    if not isinstance(choice, Mapping):
        return None
    kind = choice.get("type", "function")
    told = choice.get(kind)
    if not isinstance(told, Mapping):
        return None
    if kind != "allowed_tools":
        return {told.get("name")}
    listed = [each for each in told.get("tools") or () if isinstance(each, Mapping)]
    return {(each.get(each.get("type", "function")) or {}).get("name") for each in listed}


def _demanded(choice: Any) -> bool:
    """Whether ``tool_choice`` demands a call."""
    if isinstance(choice, Mapping) and choice.get("type") == "allowed_tools":
        choice = (choice.get("allowed_tools") or {}).get("mode")
    return choice == "required" or isinstance(choice, Mapping)
