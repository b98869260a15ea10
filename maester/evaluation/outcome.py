"""What came of judging inferences on record: of each one, and of all together."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Judged:
    """What became of one inference.

    :param results: what was found out and written now, as ``GET /v1/inferences/{id}`` shows it.
    :param present: what was on record already, and was not run again.
    :param left_out: which of `samples.REASONS` kept it from being judged at all.
    """

    request_id: str
    results: tuple[Mapping[str, Any], ...] = ()
    present: tuple[Mapping[str, Any], ...] = ()
    left_out: str | None = None

    @property
    def failed(self) -> bool:
        """Whether it could not be judged: it was left out, or a check ended in an error."""
        return self.left_out is not None or any(each["state"] == "error" for each in self.results)

    def document(self) -> Json:
        """The outcome as plain JSON values."""
        return {
            "request_id": self.request_id,
            "left_out": self.left_out,
            "results": [dict(result) for result in self.results],
            "present": [dict(result) for result in self.present],
        }


class Tally:
    """Counts outcomes.

    :ivar judged: inferences that were not left out.
    :ivar left_out: those that were, by reason.
    :ivar states: of each check (by name), how many results there are of each state; ``present`` are those
        that were on record already.
    """

    def __init__(self) -> None:
        self.judged = 0
        self.left_out: Counter[str] = Counter()
        self.states: dict[str, Counter[str]] = defaultdict(Counter)
        self._passed: Counter[str] = Counter()
        self._verdicts: Counter[str] = Counter()

    def add(self, judged: Judged) -> None:
        """Count one more."""
        if judged.left_out is not None:
            self.left_out[judged.left_out] += 1
        else:
            self.judged += 1
        for result in judged.results:
            self.states[result["name"]][result["state"]] += 1
        for result in judged.present:
            self.states[result["name"]]["present"] += 1
        for result in (*judged.results, *judged.present):
            self._passed[result["name"]] += result["state"] == "passed"
            self._verdicts[result["name"]] += result["state"] in ("passed", "failed")

    @property
    def errors(self) -> int:
        """Results that are errors."""
        return sum(states["error"] for states in self.states.values())

    def pass_rate(self, name: str) -> float | None:
        """What part of a check's verdicts, those on record included, is a pass; ``None`` without any."""
        verdicts = self._verdicts[name]
        return self._passed[name] / verdicts if verdicts else None

    def as_dict(self) -> Json:
        """The counts as plain JSON values."""
        words = ("passed", "failed", "error", "present")
        return {
            "judged": self.judged,
            "left_out": dict(self.left_out),
            "checks": {
                name: {
                    **{word: states[word] for word in words},
                    "pass_rate": self.pass_rate(name),
                }
                for name, states in sorted(self.states.items())
            },
        }
