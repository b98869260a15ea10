"""Which inferences are evaluated."""

from __future__ import annotations

import pytest

from maester import ids
from maester.errors import ProviderTimeout
from maester.evaluation import Selection
from maester.ledger.queries import Filter
from maester.ledger.selection import sampled
from support.evaluations import Bench
from support.inferences import finished


def test_only_what_has_an_answer_is_chosen_and_the_rest_counted(bench: Bench) -> None:
    good = [finished(started_at=1000.0 + number, tags={"team": "a"}) for number in range(3)]
    other = finished(started_at=1010.0, model="another", response_model="another-1")
    left = [
        finished(started_at=1020.0, error=ProviderTimeout("slow")),
        finished(started_at=1021.0, operation="embeddings", input="x"),
        {**finished(started_at=1022.0), "content": None},
    ]
    bench.recorder.record(*good, other, *left)
    selection = Selection(bench.database, Filter())
    names = [each["request_id"] for each in good]
    assert list(selection) == [other["request_id"], *reversed(names)]
    assert (selection.matched, selection.selected) == (7, 4)
    assert dict(selection.left_out) == {"not_ok": 1, "not_chat": 1, "no_content": 1}
    assert list(selection) == list(selection)
    assert selection.matched == 7
    for filters, expected in (
        (Filter(tags={"team": "a"}), names[::-1]),
        (Filter(model="another"), [other["request_id"]]),
        (Filter(model="another-1"), [other["request_id"]]),
        (Filter(since=1001.0, until=1002.0), names[1:2]),
    ):
        assert list(Selection(bench.database, filters)) == expected
    assert list(Selection(bench.database, Filter(), limit=2)) == [other["request_id"], names[2]]


def test_pages_join_without_a_gap(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maester.ledger.selection._PAGE", 2)
    # Two of them began at the same moment.
    records = [finished(started_at=1000.0 + number // 2) for number in range(7)]
    bench.recorder.record(*records)
    chosen = list(Selection(bench.database, Filter()))
    assert sorted(chosen) == sorted(each["request_id"] for each in records)
    assert len(chosen) == len(set(chosen))


def test_a_sample_is_the_same_each_time_and_grows_with_its_share(local: Bench) -> None:
    local.recorder.record(*(finished() for _ in range(400)))
    few = Selection(local.database, Filter(), share=0.2)
    chosen = set(few)
    assert chosen == set(few)
    assert few.left_out["not_sampled"] == 400 - len(chosen)
    assert chosen < set(Selection(local.database, Filter(), share=0.6))
    assert len(set(Selection(local.database, Filter(), share=1.0))) == 400


def test_a_sample_has_the_share_that_was_asked_for() -> None:
    made = [ids.request_id() for _ in range(20_000)]
    for share in (0.01, 0.1, 0.5):
        taken = sum(sampled(each, share) for each in made)
        deviation = (20_000 * share * (1 - share)) ** 0.5
        assert abs(taken - 20_000 * share) < 6 * deviation


@pytest.mark.parametrize("share", [0.0, -1.0, 1.1])
def test_a_share_that_makes_no_sense_is_refused(local: Bench, share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Selection(local.database, Filter(), share=share)
