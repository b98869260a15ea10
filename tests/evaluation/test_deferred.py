"""Checks that are deferred: recorded as pending, run later, never left pending."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import event

from maester.checks import parse_checks, resolve_checks
from maester.config import check_names
from maester.database import schema
from maester.errors import ConfigError, InvalidRequest
from maester.evaluation import evaluate_recorded, has_pending, pending, settle_pending
from maester.evaluation.policy import Policy
from maester.model import Check, Request
from maester.settings import EvaluateSettings, LogSettings, ModelSettings, Settings
from support.evaluations import Bench, Says

LATER = Check("says", {"word": "w"}, name="judge", deferred=True)


def settle(bench: Bench, *ids: str) -> list[list[str]]:
    return [
        [result["state"] for result in judged.results]
        for judged in settle_pending(bench.runtime, ids or pending(bench.database), job_id="job-1")
    ]


def test_it_is_pending_until_it_has_run(bench: Bench) -> None:
    request_id = bench.answered("fine", "non_empty", LATER)
    assert bench.says.seen == []
    assert bench.word(request_id) == "pending"
    before = bench.results(request_id)["judge"]
    assert (before["state"], before["parameters"], before["required"]) == ("pending", {"word": "w"}, True)
    assert pending(bench.database) == [request_id]
    assert settle(bench) == [["passed"]]
    record = bench.recorder.ledger.get(request_id)
    assert record is not None
    assert record["evaluation"]["passed"] is True
    assert record["evaluation"]["checks"] == {"non_empty": True, "judge": True}
    after = bench.results(request_id)["judge"]
    assert (after["state"], after["score"], after["label"], after["job_id"]) == ("passed", 0.5, "w", "job-1")
    assert (after["config_hash"], after["required"]) == (before["config_hash"], True)
    assert bench.word(request_id) == "passed"
    assert pending(bench.database) == []
    assert not has_pending(record)


def test_one_that_fails_makes_the_answer_unacceptable(bench: Bench) -> None:
    bench.says.passes = False
    request_id = bench.answered("fine", "non_empty", LATER)
    settle(bench)
    assert bench.word(request_id) == "failed"


def test_one_that_is_not_required_leaves_no_verdict_open(bench: Bench) -> None:
    alone = bench.answered("fine", Check("says", required=False, deferred=True))
    beside = bench.answered("fine", "non_empty", Check("says", required=False, deferred=True))
    assert (bench.word(alone), bench.word(beside)) == ("pending", "passed")
    bench.says.passes = False
    settle(bench)
    assert (bench.word(alone), bench.word(beside)) == (None, "passed")


def test_settling_twice_changes_nothing(bench: Bench) -> None:
    request_id = bench.answered("fine", LATER)
    settle(bench)
    rows = bench.rows()
    bench.says.passes = False
    assert settle(bench, request_id) == [[]]
    assert settle(bench, "nobody") == [[]]
    assert bench.rows() == rows
    assert len(bench.says.seen) == 1


def test_an_evaluator_that_is_gone_ends_in_an_error(bench: Bench) -> None:
    request_id = bench.answered("fine", LATER)
    del bench.evaluators["says"]
    assert settle(bench) == [["error"]]
    assert "no evaluator 'says'" in bench.results(request_id)["judge"]["explanation"]
    assert bench.word(request_id) == "failed"
    assert pending(bench.database) == []


def test_an_answer_that_is_gone_ends_in_an_error(bench: Bench) -> None:
    lost, emptied = bench.answered("fine", LATER), bench.answered("fine", LATER)
    document = schema.documents
    with bench.database.begin() as connection:
        connection.execute(document.delete().where(document.c.request_id == lost))
        connection.execute(document.update().where(document.c.request_id == emptied).values(content=None))
    assert settle(bench) == [["error"], ["error"]]
    assert bench.results(emptied)["judge"]["explanation"] == "The answer was not kept."
    assert pending(bench.database) == []


def test_another_version_runs_under_the_configuration_that_was_asked_for(bench: Bench) -> None:
    request_id = bench.answered("fine", LATER)
    asked = bench.results(request_id)["judge"]["config_hash"]
    bench.says.version = "2"
    settle(bench)
    after = bench.results(request_id)["judge"]
    assert (after["version"], after["config_hash"], after["state"]) == ("2", asked, "passed")


def test_evaluating_by_the_same_check_settles_it(bench: Bench) -> None:
    request_id = bench.answered("fine", "non_empty", LATER)
    checks = bench.checks(Check("says", {"word": "w"}))
    (judged,) = evaluate_recorded(bench.runtime, [request_id], checks)
    assert [each["state"] for each in judged.results] == ["passed"]
    assert bench.word(request_id) == "passed"
    assert bench.results(request_id)["judge"]["required"] is True


def test_the_ones_that_wait_longest_come_first(bench: Bench) -> None:
    now = time.time()
    ages = [5.0, 300.0, 60.0]
    ids = [bench.answered("fine", LATER, "non_empty", started_at=now - age) for age in ages]
    assert pending(bench.database) == [ids[1], ids[2], ids[0]]
    assert pending(bench.database, older_than_s=30) == [ids[1], ids[2]]
    assert pending(bench.database, limit=1) == [ids[1]]


def test_they_are_found_by_their_index(local: Bench) -> None:
    local.answered("fine", LATER)

    def note(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            plan = cursor.connection.execute(f"EXPLAIN QUERY PLAN {statement}", parameters).fetchall()
            plans.append(str(plan))

    plans: list[str] = []
    event.listen(local.database.engine, "before_cursor_execute", note)
    pending(local.database, older_than_s=0.1)
    assert len(plans) == 1
    assert "ix_evaluations_pending" in plans[0]


def test_an_answer_that_did_not_come_is_skipped_at_once(local: Bench) -> None:
    request_id = local.answered("x", LATER, operation="embeddings", input="x")
    assert local.results(request_id)["judge"]["state"] == "skipped"
    assert pending(local.database) == []


def test_an_answer_that_was_held_back_is_judged_all_the_same(local: Bench) -> None:
    later = Check("says", required=False, deferred=True)
    request_id = local.answered("fine", Check("max_length", {"characters": 1}), later, on_failure="block")
    assert local.word(request_id) == "failed"
    record = local.recorder.ledger.get(request_id)
    assert record is not None
    assert (record["status"], record["error"]["code"]) == ("error", "evaluation_failed")
    assert settle(local) == [["passed"]]


class TestRefusals:
    evaluators = {"says": Says()}

    def admit(self, settings: Settings, **request: object) -> None:
        Policy(settings, self.evaluators).admit(Request("m", **request))  # type: ignore[arg-type]

    def test_what_is_deferred_cannot_block(self) -> None:
        later = resolve_checks((LATER,), self.evaluators)
        with pytest.raises(InvalidRequest, match="cannot hold the answer back") as caught:
            self.admit(Settings(), checks=later, on_failure="block")
        assert caught.value.param == "evaluate"
        optional = (Check("says", required=False, deferred=True),)
        self.admit(Settings(), checks=optional, on_failure="block")
        self.admit(Settings(), checks=later)
        self.admit(Settings(), checks=later, on_failure="block", operation="embeddings")

    def test_nor_can_what_is_configured_as_deferred(self) -> None:
        settings = Settings(evaluate=EvaluateSettings(checks=(LATER,)))
        self.admit(settings)
        with pytest.raises(InvalidRequest) as caught:
            self.admit(settings, on_failure="block")
        assert caught.value.param == "on_failure"

    @pytest.mark.parametrize(
        "settings", [Settings(log=LogSettings(capture="none")), Settings(disabled_stages=("log",))]
    )
    def test_what_is_not_kept_cannot_be_judged_later(self, settings: Settings) -> None:
        with pytest.raises(InvalidRequest, match="could never run"):
            self.admit(settings, checks=(LATER,))

    @pytest.mark.parametrize(
        ("settings", "key"),
        [
            (Settings(evaluate=EvaluateSettings((LATER,), "block")), "evaluate.checks"),
            (
                Settings(
                    evaluate=EvaluateSettings((LATER,)),
                    models={"a": ModelSettings("a", "p", "m", on_failure="block")},
                ),
                "models.a.on_failure",
            ),
            (
                Settings(
                    log=LogSettings(capture="none"),
                    models={"a": ModelSettings("a", "p", "m", checks=(LATER,))},
                ),
                "models.a.evaluate",
            ),
        ],
    )
    def test_the_configuration_is_held_to_the_same(self, settings: Settings, key: str) -> None:
        with pytest.raises(ConfigError, match="deferred") as caught:
            check_names(settings, providers=("p",), stages=("log",), evaluators=self.evaluators)
        assert [problem["key"] for problem in caught.value.problems] == [key]

    def test_deferred_is_true_or_false(self) -> None:
        (check,) = parse_checks([{"name": "says", "deferred": True, "word": "x"}]) or ()
        assert (check.deferred, check.parameters) == (True, {"word": "x"})
        with pytest.raises(InvalidRequest, match=r"evaluate\[0\].deferred must be true or false"):
            parse_checks([{"name": "says", "deferred": "yes"}])
