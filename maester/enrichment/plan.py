"""What a run does to each row, and what must not change before it is resumed."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from maester import ids
from maester.errors import InvalidRequest
from maester.model import Check, Message, Request

from .rows import CSV_SUFFIXES, JSON_SUFFIXES, Input
from .state import SUFFIX, State
from .template import PromptTemplate

MARK = "maester"
"""The key under which a row of JSON Lines says what became of it."""

_TOLD = {
    "input": "the input's content",
    "template": "the prompt's template",
    "system": "the system message",
    "model": "the model",
    "route": "what the model's name leads to",
    "parameters": "the parameters",
    "checks": "the evaluators",
    "column": "the column",
    "json": "--json-output",
}

_FENCED = re.compile(r"\s*```(?:json)?\s*\n(.*)\n\s*```\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked for each row, and where the answer goes.

    :param template: the prompt.
    :param model: the model asked for.
    :param column: the column that takes the answers.
    :param output: the file that is written; JSON Lines or CSV by its name.
    :param system: the system message.
    :param parameters: for the provider, under OpenAI's names.
    :param checks: evaluators to run over each answer; ``None`` means the model's configured ones.
    :param tags: labels for attribution.
    :param timeout_s: for each row, in seconds.
    :param json: whether answers are JSON, and the column takes the values.
    """

    template: PromptTemplate
    model: str
    column: str
    output: Path
    system: str | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    checks: tuple[Check, ...] | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float | None = None
    json: bool = False

    @property
    def json_lines(self) -> bool:
        """Whether the output is JSON Lines, and not CSV."""
        return self.output.suffix.lower() in JSON_SUFFIXES

    def request(self, prompt: str) -> Request:
        """The request for a row's prompt."""
        messages: list[Message] = [{"role": "user", "content": prompt}]
        if self.system:
            messages.insert(0, {"role": "system", "content": self.system})
        parameters = dict(self.parameters)
        if self.json:
            parameters.setdefault("response_format", {"type": "json_object"})
        return Request(
            model=self.model,
            messages=messages,
            parameters=parameters,
            checks=self.checks,
            tags=self.tags,
            timeout_s=self.timeout_s,
        )

    def value(self, answer: str) -> Any:
        """What the column takes of an answer: its text, or the JSON in it.

        :raises ValueError: when it is to be JSON and is not.
        """
        if not self.json:
            return answer
        fenced = _FENCED.fullmatch(answer)
        return orjson.loads(fenced[1] if fenced else answer)

    def check(self, table: Input) -> None:
        """Make sure that the table can be enriched so.

        :raises InvalidRequest: when it has no column that the prompt names, or already one of those
            that are to be added, or is itself the output.
        """
        output = self.output
        if output.suffix.lower() not in (*CSV_SUFFIXES, *JSON_SUFFIXES):
            known = ", ".join((*JSON_SUFFIXES, *CSV_SUFFIXES))
            raise InvalidRequest(f"{output}: the name of an output ends in one of {known}.")
        if output.exists() and output.samefile(table.path):
            raise InvalidRequest(f"{output} is the input; give the output another name.")
        self.template.check(table.columns)
        for name in (self.column, MARK) if self.json_lines else (self.column,):
            if name in table.columns:
                what = (
                    "take another one for the answers" if name == self.column else "write CSV, or rename it"
                )
                raise InvalidRequest(f"{table.path} already has a column {name!r}; {what}.")

    def fingerprint(self, table: Input, route: str) -> dict[str, Any]:
        """What decides the output: a run with another one is another run.

        :param route: where the model's name leads: ``provider/model``.
        """
        checks = self.checks and [
            {
                "evaluator": check.evaluator,
                "parameters": dict(check.parameters),
                "required": check.required,
                "label": check.label,
            }
            for check in self.checks
        ]
        return {
            "input": table.digest,
            "template": _digest(self.template.source),
            "system": _digest(self.system) if self.system else None,
            "model": self.model,
            "route": route,
            "parameters": dict(self.parameters),
            "checks": checks,
            "column": self.column,
            "json": self.json,
        }


def open_state(plan: Plan, table: Input, route: str, *, restart: bool = False) -> State:
    """The state of the plan's output: a new one, or that of the run that is resumed.

    :param route: where the model's name leads.
    :param restart: whether what there is is thrown away.
    :raises InvalidRequest: when the output belongs to a run of something else (saying what differs) or
        to no run at all, or its folder is not there.
    :raises Unavailable: when another process is at it.
    :raises OSError: when it cannot be written.
    """
    path = plan.output.with_name(plan.output.name + SUFFIX)
    if not path.parent.is_dir():
        raise InvalidRequest(
            f"{plan.output}: there is no folder {path.parent}. Make it, or give another --output."
        )
    if not restart and plan.output.exists() and not path.exists():
        raise InvalidRequest(
            f"{plan.output} is there and no run of this command wrote it; --restart replaces it."
        )
    wanted = plan.fingerprint(table, route)
    header = {
        "event": "run",
        "run": f"enrich_{ids.span_id()}",
        "trace_id": ids.trace_id(),
        "span_id": ids.span_id(),
        "started_at": time.time(),
        "input_path": str(table.path),
        **wanted,
    }
    state = State(path, header, restart=restart)
    wanted = orjson.loads(orjson.dumps(wanted))
    changed = [words for name, words in _TOLD.items() if state.header.get(name) != wanted[name]]
    if changed:
        state.close()
        verb = "was" if len(changed) == 1 else "were"
        raise InvalidRequest(
            f"{path} is of a run in which {_listed(changed)} {verb} different."
            " Undo the change to resume it, give this run another --output, or begin anew with --restart."
        )
    return state


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
