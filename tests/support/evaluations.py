"""What evaluation needs of a runtime, over a recorder: evaluators, sinks, settings and the database."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from maester.checks import ResolvedCheck, resolve_checks
from maester.contracts import Evaluator
from maester.database import schema
from maester.errors import EvaluationFailed
from maester.evaluators import MaxLength, NonEmpty, RequiredTerms
from maester.model import Check, Sample, Verdict
from maester.record import record_of
from maester.runtime import Runtime
from maester.stages.evaluate import EvaluateStage

from .inferences import answer, open_inference
from .recorder import Recorder


class Says:
    """An evaluator whose version and word can be changed, and that counts what it is asked."""

    def __init__(self, name: str = "says", version: str = "1") -> None:
        self.name = name
        self.version = version
        self.passes: bool | Exception = True
        self.seen: list[Sample] = []
        self.delay_s = 0.0

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict:
        self.seen.append(sample)
        time.sleep(self.delay_s)
        if isinstance(self.passes, Exception):
            raise self.passes
        return Verdict(self.passes, 0.5, parameters.get("word"), parameters.get("why"))


class Listener:
    """A sink that keeps what it is told of later results."""

    name = "listener"

    def __init__(self) -> None:
        self.heard: list[tuple[Mapping[str, Any], Any]] = []

    def settle(self, record: Mapping[str, Any]) -> None:
        """Nothing to do."""

    def evaluated(self, record: Mapping[str, Any], results: Any) -> None:
        self.heard.append((record, results))


class Bench:
    """A recorder with evaluators: records answers that were checked, and evaluates what is recorded."""

    def __init__(self, recorder: Recorder, *extra: Evaluator) -> None:
        self.recorder = recorder
        self.settings = recorder.settings
        self.database = recorder.database
        self.says = Says()
        self.listener = Listener()
        self.registry = self
        self.sinks: tuple[Any, ...] = (self.listener,)
        built_in: tuple[Evaluator, ...] = (NonEmpty(), RequiredTerms(), MaxLength(), self.says)
        self.evaluators = {each.name: each for each in (*built_in, *extra)}

    @property
    def runtime(self) -> Runtime:
        return cast("Runtime", self)

    def checks(self, *checks: Check | str) -> tuple[ResolvedCheck, ...]:
        written = tuple(Check(each) if isinstance(each, str) else each for each in checks)
        return resolve_checks(written, self.evaluators)

    def answered(self, output: str = "Hello there.", *checks: Check | str, **options: Any) -> str:
        """Record an answer, judged by the evaluate stage; its request id."""
        stage = EvaluateStage()
        stage.configure(self.settings, self.evaluators)
        options.setdefault("started_at", time.time() - 1.0)  # it takes half a second, and is over
        inference = open_inference(checks=self.checks(*checks), **options)
        answer(inference, output, evaluation=None)
        try:
            stage.run(inference)
        except EvaluationFailed as exc:
            inference.error = exc
        self.recorder.record(record_of(inference))
        return inference.request_id

    def results(self, request_id: str) -> dict[str, Any]:
        """The results of an inference as the ledger shows them, by name."""
        record = self.recorder.ledger.get(request_id)
        assert record is not None
        return {each["name"]: each for each in (record["evaluation"] or {"results": ()})["results"]}

    def rows(self) -> list[tuple[Any, ...]]:
        """Every row of the table of results."""
        query = schema.evaluations.select().order_by(*schema.evaluations.primary_key.columns)
        with self.database.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def word(self, request_id: str) -> str | None:
        """What the list says of an inference's evaluation."""
        (item,) = [
            each for each in self.recorder.ledger.list(limit=1000).items if each["request_id"] == request_id
        ]
        word: str | None = item["evaluation"]
        return word
