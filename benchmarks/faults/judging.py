"""Running a case, and judging by the ledger, the journal and the metrics whether it holds."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field

import requests

from faults.load import HUNG_S
from faults.scene import CASES, Outcome, Scene, set_up
from maester.database import Database
from maester.ledger.journals import JournalReport, inspect
from maester.ledger.queries import Ledger
from maester.ledger.verifying import verify
from support.server import Server

COLUMNS = ("what is broken", "offered", "answered", "refused", "cut off", "hung", "slowest answer")
COLUMNS += ("recorded", "interrupted", "recovered")
COUNTED = ("unaccounted_inferences", "inflight_requests", "ledger_queued_inferences")
"""Metrics that are 0 when everything is settled and recorded."""


@dataclass
class Verdict:
    """What is known of a case once it is over.

    :ivar wrong: why it does not hold; empty if it does.
    """

    line: str
    told: str
    wrong: list[str] = field(default_factory=list)


def run(name: str, seconds: float, postgres: str | None) -> Verdict:
    """Run one case."""
    setting, function = CASES[name]
    with set_up(setting, seconds, postgres) as (scene, database):
        outcome = function(scene)
        done = time.monotonic()
        alive = scene.server.process.poll() is None
        server = (
            scene.server if alive else Server(scene.server.folder, environ={"MAESTER_LEDGER_URL": scene.url})
        )
        try:
            state = _settled(scene, database, done)
            recorded_s = time.monotonic() - (outcome.mended or done)
            counted = _counted(server.url)
            if outcome.check is not None:
                outcome.notes = outcome.check()
        finally:
            if not alive:  # whoever starts next takes up what is left
                server.close()
        return _judge(name, outcome, database, (state, recorded_s, counted))


def _settled(scene: Scene, database: Database, since: float) -> JournalReport:
    """The journals once nothing waits in them."""
    while True:
        state = inspect(scene.journal, database)
        if not (state.waiting or state.open) or time.monotonic() - since > HUNG_S:
            return state
        time.sleep(0.1)


def _counted(url: str) -> dict[str, float]:
    """What the metrics say, once other processes have had the second in which they look again."""
    end = time.monotonic() + 5
    while True:
        found = dict.fromkeys(COUNTED, -1.0)
        for line in requests.get(f"{url}/metrics", timeout=HUNG_S).text.splitlines():
            name, _, value = line.rpartition(" ")
            if name.removeprefix("maester_") in found:
                found[name.removeprefix("maester_")] = float(value)
        if not any(found.values()) or time.monotonic() > end:
            return found
        time.sleep(0.2)


def _judge(
    name: str, outcome: Outcome, database: Database, after: tuple[JournalReport, float, dict[str, float]]
) -> Verdict:
    state, recorded_s, counted = after
    ledger, tally, results = Ledger(database), outcome.tally, outcome.tally.results
    missing = [each for each in tally.owing if ledger.get(each) is None]
    cut = sum(ledger.get(alias) is not None for alias in tally.cut)
    again = min((at for at in tally.answered_at if at > (outcome.mended or 0)), default=None)
    report = verify(database)
    held = {
        "some hung": not results["hung"],
        "some were answered wrongly": not results["wrong"],
        "some were cut off": outcome.may_cut or not results["cut off"],
        "nothing was refused": not outcome.must_refuse or results["refused"] > 0,
        "nothing was answered": results["answered"] > 0,
        f"{len(missing)} have no record: {missing[:3]}": len(missing) <= outcome.unrecorded,
        f"the ledger is wrong: {report.counts}": not report.counts,
        f"the journal is not done: {state}": not (state.waiting or state.open or state.lost),
        f"the metrics do not add up: {counted}": not any(counted.values()),
        "nothing was answered again": outcome.mended is None or again is not None,
    }
    wrong = [text for text, true in held.items() if not true]
    recovery = "–" if outcome.mended is None else f"{(again or 0) - outcome.mended:.2f} / {recorded_s:.1f} s"
    cells = [name, results.total(), results["answered"], results["refused"]]
    cells += [f"{results['cut off']}, {cut} on record" if results["cut off"] else 0]
    cells += [results["hung"] + results["wrong"], f"{tally.slowest_s:.2f} s"]
    cells += [f"{len(tally.owing) - len(missing)} of {len(tally.owing)}"]
    cells += [ledger.totals().get("interrupted", 0), recovery]
    told = [f"{code} {count}" for code, count in tally.codes.most_common(4)]
    told += [outcome.notes] if outcome.notes else []
    return Verdict("| " + " | ".join(map(str, cells)) + " |", ", ".join(told), wrong)


def run_all(names: list[str], seconds: float, postgres: str | None) -> int:
    """Run cases and print the table's rows to standard output; how many do not hold."""
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}", flush=True)
    failed = 0
    for name in names:
        try:
            verdict = run(name, seconds, postgres)
        except Exception as exc:  # noqa: BLE001 - the others are run all the same
            verdict = Verdict(f"| {name} | {type(exc).__name__} |", "", [str(exc)[:2000]])
        failed += bool(verdict.wrong)
        print(verdict.line, flush=True)
        if verdict.told:
            print(f"  {name}: {verdict.told}", file=sys.stderr, flush=True)
        for reason in verdict.wrong:
            print(f"DOES NOT HOLD: {name}: {reason}", file=sys.stderr, flush=True)
    return failed
