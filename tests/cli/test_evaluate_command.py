"""``maester evaluate``."""

from __future__ import annotations

import json
from typing import Any

import pytest

from maester.cli import exits
from support.console import Invoke


def ask(invoke: Invoke, prompt: str, session: str, *options: str) -> str:
    result = invoke("run", prompt, "--json", "--session", session, *options)
    assert result.exit_code == 0, result.stderr
    request_id: str = json.loads(result.stdout)["request_id"]
    return request_id


def evaluated(invoke: Invoke, *options: str) -> dict[str, Any]:
    result = invoke("evaluate", "--json", *options)
    assert result.exit_code == 0, result.stderr
    told: dict[str, Any] = json.loads(result.stdout)
    return told


def test_it_counts_and_does_nothing_twice(invoke: Invoke) -> None:
    ids = [ask(invoke, prompt, "evaluate") for prompt in ("a refund", "nothing", "two refunds")]
    invoke("run", "x", "--session", "evaluate", "-p", 'echo={"fail": "auth"}')
    chosen = (
        "--session",
        "evaluate",
        "--since",
        "1h",
        "-e",
        'required_terms=terms=["refund"],match=substring',
    )
    assert evaluated(invoke, *chosen, "--dry-run") == {"would_evaluate": 3, "left_out": {"not_ok": 1}}
    counts = {"passed": 2, "failed": 1, "error": 0, "present": 0, "pass_rate": 2 / 3}
    assert evaluated(invoke, *chosen) == {
        "judged": 3,
        "left_out": {"not_ok": 1},
        "checks": {"required_terms": counts},
    }
    again = evaluated(invoke, *chosen, "--concurrency", "3")
    assert again["checks"]["required_terms"] == {**counts, "passed": 0, "failed": 0, "present": 3}
    shown = invoke("inferences", "show", ids[1])
    assert "RUN LATER" in shown.stdout
    assert "required_terms" in shown.stdout
    table = invoke("evaluate", *chosen)
    head = table.stdout.splitlines()[0]
    assert head.split() == ["CHECK", "PASSED", "FAILED", "ERROR", *("ALREADY", "THERE", "PASS", "RATE")]
    assert "66.7%" in table.stdout
    assert "1 left out: they did not end well." in table.stderr


def test_pending_checks_are_run(invoke: Invoke) -> None:
    later = '{"name": "required_terms", "terms": ["refund"], "deferred": true}'
    request_id = ask(invoke, "nothing", "pending", "--evaluate", later)
    assert "evaluation pending" in invoke("inferences", "show", request_id).stdout
    assert "later: evaluate required_terms  pending" in invoke("trace", request_id).stdout
    assert evaluated(invoke, "--pending", "--dry-run")["would_evaluate"] == 1
    assert evaluated(invoke, "--pending")["checks"]["required_terms"]["failed"] == 1
    assert "evaluation failed" in invoke("inferences", "show", request_id).stdout
    assert "later: evaluate required_terms  failed  20" in invoke("trace", request_id).stdout
    assert evaluated(invoke, "--pending") == {"judged": 0, "left_out": {}, "checks": {}}


def test_a_check_that_ends_in_an_error_is_told(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    ask(invoke, "x", "error")

    def broken(*_: Any) -> bool:
        raise RuntimeError("no")

    monkeypatch.setattr("maester.evaluators.NonEmpty.evaluate", broken)
    result = invoke("evaluate", "--session", "error", "-e", "non_empty", "--json")
    assert result.exit_code == exits.FAILED
    assert json.loads(result.stdout)["checks"]["non_empty"]["error"] == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), "--evaluator"),
        (("-e", "nonempty"), "non_empty"),
        (("-e", "max_length=characters=x"), "characters"),
        (("-e", "max_length=5"), "NAME=key=value"),
        (("-e", "non_empty", "--sample", "0"), "sample"),
        (("--pending", "-e", "non_empty"), "--pending"),
        (("--pending", "--sample", "0.5"), "--pending"),
        (("--pending", "--model", "x"), "--pending"),
    ],
)
def test_what_makes_no_sense_is_refused(invoke: Invoke, options: tuple[str, ...], words: str) -> None:
    result = invoke("evaluate", *options)
    assert result.exit_code == exits.USAGE
    assert words in result.stderr
