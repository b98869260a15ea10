"""Questions to the ledger, on SQLite and on PostgreSQL alike."""

from __future__ import annotations

from decimal import Decimal

import pytest

from maester.errors import InvalidRequest, LedgerError, ProviderTimeout
from maester.ledger.queries import Filter
from support.inferences import finished, stored
from support.recorder import Recorder

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def test_a_record_comes_back_as_it_was(recorder: Recorder) -> None:
    record = finished(alias="mine", tags={"team": "search"}, user="u", session="s", key_id="key_1")
    recorder.record(record)
    assert recorder.ledger.get(record["request_id"]) == stored(record)


@pytest.mark.parametrize("name", ["request_id", "alias", "response_id"])
def test_a_record_is_found_by_each_of_its_ids(recorder: Recorder, name: str) -> None:
    record = finished(alias="mine/with spaces & ünïcode")
    recorder.record(record, finished(), finished())
    assert recorder.ledger.get(record[name]) == stored(record)
    assert recorder.ledger.get(record[name] + "x") is None


def test_a_request_id_is_found_in_capitals_too(recorder: Recorder) -> None:
    record = finished()
    recorder.record(record)
    found = recorder.ledger.get(record["request_id"].upper())
    assert found is not None
    assert found["request_id"] == record["request_id"]


def test_of_several_with_one_alias_the_newest_is_shown_and_all_are_counted(recorder: Recorder) -> None:
    records = [finished(alias="again", started_at=float(moment)) for moment in (1, 3, 2)]
    recorder.record(*records)
    found = recorder.ledger.get("again")
    assert found == {**stored(records[1]), "matches": 3}


def test_an_id_that_is_an_alias_of_another_stands_for_itself(recorder: Recorder) -> None:
    first = finished()
    second = finished(alias=first["request_id"])
    recorder.record(first, second)
    found = recorder.ledger.get(first["request_id"])
    assert found is not None
    assert "matches" not in found
    assert found["request_id"] == first["request_id"]


def test_an_embeddings_record_has_its_input(recorder: Recorder) -> None:
    record = {**finished(), "operation": "embeddings", "content": {"input": ["a", "b"], "parameters": {}}}
    recorder.record(record)
    assert recorder.ledger.get(record["request_id"]) == stored(record)


FILTERS: list[tuple[Filter, set[int]]] = [
    (Filter(), {0, 1, 2, 3, 4}),
    (Filter(since=20.0), {1, 2, 3, 4}),
    (Filter(until=20.0), {0}),
    (Filter(since=20.0, until=40.0), {1, 2}),
    (Filter(model="fast"), {1, 2}),
    (Filter(model="claude-sonnet-5"), {2}),
    (Filter(provider="anthropic"), {2}),
    (Filter(status="ok"), {0, 1, 2, 4}),
    (Filter(status="error"), {3}),
    (Filter(status="interrupted"), set()),
    (Filter(tags={"team": "search"}), {0, 1}),
    (Filter(tags={"team": "search", "feature": "autocomplete"}), {1}),
    (Filter(tags={"feature": ""}), {1, 2}),
    (Filter(tags={"team": "nobody"}), set()),
    (Filter(key="key_1"), {0}),
    (Filter(evaluation="passed"), {0, 1}),
    (Filter(evaluation="failed"), {2}),
    (Filter(evaluation="none"), {3, 4}),
    (Filter(evaluation="pending"), set()),
    (Filter(min_cost=Decimal(0)), {0, 1, 2, 4}),
    (Filter(min_cost=Decimal("0.00039")), {0, 1, 4}),
    (Filter(min_cost=Decimal("0.000390000001")), {1, 4}),
    (Filter(min_cost=Decimal("1E-13")), {0, 1, 2, 4}),
    (Filter(user="anna"), {4}),
    (Filter(session="s-1"), {4}),
    (Filter(model="fast", evaluation="passed", since=5.0, tags={"team": "search"}), {1}),
]


def test_a_list_holds_what_every_filter_says(recorder: Recorder) -> None:
    records = [
        finished(started_at=10.0, tags={"team": "search"}, key_id="key_1"),
        finished(
            started_at=20.0, model="fast", tags={"team": "search", "feature": "autocomplete"}, cost="0.5"
        ),
        finished(
            started_at=30.0,
            model="fast",
            provider="anthropic",
            response_model="claude-sonnet-5",
            tags={"feature": "x"},
            evaluation=False,
            cost="0.000389999999",
        ),
        finished(started_at=40.0, error=ProviderTimeout("too slow"), cost=None, evaluation=None),
        finished(started_at=50.0, user="anna", session="s-1", cost="0.0004", evaluation=None),
    ]
    recorder.record(*records)
    ids = [record["request_id"] for record in records]
    for filters, expected in FILTERS:
        page = recorder.ledger.list(filters)
        found = [ids.index(item["request_id"]) for item in page.items]
        assert found == sorted(expected, reverse=True), filters
        assert page.next_cursor is None


def test_a_summary_tells_cost_exactly_and_unknown_is_not_zero(recorder: Recorder) -> None:
    costs = ["0.00039", "0", "1234567.000000000001", "0.00000000000012345", None]
    recorder.record(
        *(finished(cost=cost, started_at=float(index)) for index, cost in enumerate(costs, start=1))
    )
    items = recorder.ledger.list().items
    assert [item["total_cost_usd"] for item in reversed(items)] == costs
    assert [item["priced"] for item in reversed(items)] == [True, True, True, True, False]


def test_pages_neither_repeat_nor_skip_while_rows_are_added(recorder: Recorder) -> None:
    # Several of the same moment: the order among them must hold too.
    first = [finished(started_at=float(index // 3)) for index in range(20)]
    recorder.record(*first)
    seen: list[str] = []
    cursor = None
    while True:
        page = recorder.ledger.list(cursor=cursor, limit=3)
        seen += [item["request_id"] for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
        recorder.record(finished(started_at=1000.0))
    expected = sorted(first, key=lambda r: (r["started_at"], r["request_id"]), reverse=True)
    assert seen == [record["request_id"] for record in expected]


def test_pages_of_a_model_neither_repeat_nor_skip(recorder: Recorder) -> None:
    records = [
        finished(
            started_at=float(index),
            model="m" if index % 2 else "fast",
            response_model="m" if index % 3 else "other",
        )
        for index in range(24)
    ]
    recorder.record(*records)
    expected = [r["request_id"] for r in records if "m" in (r["model"], r["response_model"])]
    seen: list[str] = []
    cursor = None
    while True:
        page = recorder.ledger.list(Filter(model="m"), cursor, 5)
        seen += [item["request_id"] for item in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == expected[::-1]


@pytest.mark.parametrize("cursor", ["", "nonsense", "%%%", "bm9uc2Vuc2U", "é"])
def test_a_cursor_that_was_not_given_out_is_refused(local: Recorder, cursor: str) -> None:
    with pytest.raises(InvalidRequest, match="cursor"):
        local.ledger.list(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(local: Recorder, limit: int) -> None:
    with pytest.raises(InvalidRequest, match="between 1 and 1000"):
        local.ledger.list(limit=limit)


def test_a_filter_that_nothing_can_match_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="status must be one of"):
        Filter(status="fine")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="evaluation must be one of"):
        Filter(evaluation="good")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="min_cost"):
        Filter(min_cost=Decimal("NaN"))


def test_an_output_is_found_whatever_its_case_and_white_space(recorder: Recorder) -> None:
    record = finished("  The Capital of  FRANCE\nis Paris. ", started_at=1.0)
    newer = finished("the capital of france is paris.", started_at=2.0)
    recorder.record(record, newer, finished("The capital of Spain is Madrid."))
    found = recorder.ledger.find("THE CAPITAL\tof France is Paris.")
    assert [item["request_id"] for item in found] == [newer["request_id"], record["request_id"]]
    assert recorder.ledger.find("The capital of France") == []


def test_an_output_is_found_where_no_content_was_kept(recorder: Recorder) -> None:
    record = {**finished("Nobody kept this."), "content": None}
    recorder.record(record)
    found = recorder.ledger.find("nobody kept this.")
    assert [item["request_id"] for item in found] == [record["request_id"]]
    whole = recorder.ledger.get(record["request_id"])
    assert whole is not None
    assert whole["content"] is None


@pytest.mark.parametrize("name", ["request_id", "alias", "response_id", "trace_id"])
def test_find_takes_ids_too(recorder: Recorder, name: str) -> None:
    record = finished(alias="mine")
    recorder.record(record, finished())
    assert [item["request_id"] for item in recorder.ledger.find(record[name])] == [record["request_id"]]


def test_a_trace_has_all_its_inferences_oldest_first(recorder: Recorder) -> None:
    records = [finished(trace_id=TRACE, started_at=float(moment)) for moment in (3, 1, 2)]
    recorder.record(*records, finished())
    expected = [stored(records[index]) for index in (1, 2, 0)]
    assert recorder.ledger.trace(TRACE) == expected
    assert recorder.ledger.trace(TRACE.upper()) == expected
    assert recorder.ledger.trace(records[0]["request_id"]) == expected
    assert recorder.ledger.trace("0" * 32) == []


def test_what_is_recorded_can_be_followed(recorder: Recorder) -> None:
    recorder.record(finished(started_at=100.0))
    (first,) = recorder.ledger.recorded_since(0.0)
    late = finished(started_at=1.0)  # began earlier, ended later
    recorder.record(late)
    after = recorder.ledger.recorded_since(first["recorded_at"])
    assert [item["request_id"] for item in after] == [late["request_id"]]


def test_totals_count_by_status(recorder: Recorder) -> None:
    recorder.record(finished(), finished(), finished(error=ProviderTimeout("x"), cost=None))
    assert recorder.ledger.totals() == {"ok": 2, "error": 1, "cancelled": 0, "interrupted": 0}


def test_readiness(recorder: Recorder) -> None:
    recorder.ledger.ping()
    assert recorder.ledger.schema_current()


def test_a_database_that_is_away_is_an_error_that_says_so(postgres_server: str) -> None:
    from maester.database import Database
    from maester.ledger.queries import Ledger

    with pytest.raises(LedgerError, match="maester@127"):
        Ledger(Database("postgresql://maester@127.0.0.1:1/none")).ping()


def test_listing_uses_indexes_and_not_the_whole_table(local: Recorder) -> None:
    local.record(finished())
    queries = {
        "started_at >= 1 AND started_at < 2": "ix_inferences_started_at",
        "status = 'error' AND status != 'ok'": "ix_inferences_status",
        "provider = 'x'": "ix_inferences_provider",
        "model = 'x'": "ix_inferences_model",
        "response_model = 'x'": "ix_inferences_response_model",
        "key_id = 'x'": "ix_inferences_key_id",
        "evaluation = 'failed' AND evaluation != 'passed'": "ix_inferences_evaluation",
        "cost_usd >= 5": "ix_inferences_started_at",
        "trace_id = 'x'": "ix_inferences_trace_id",
        "output_hash = 'x'": "ix_inferences_output_hash",
    }
    order = "ORDER BY started_at DESC, request_id DESC LIMIT 50"
    with local.database.connect() as connection:
        for where, index in queries.items():
            statement = f"EXPLAIN QUERY PLAN SELECT * FROM inferences WHERE {where} {order}"
            plan = " ".join(str(row) for row in connection.exec_driver_sql(statement))
            assert index in plan, (where, plan)
