"""The output: what is written for which row, and that it is never half there."""

from __future__ import annotations

from pathlib import Path

import pytest

from maester.enrichment import Input, Plan, PromptTemplate, State, open_state, write_output
from maester.errors import InvalidRequest

RESULT = {
    "status": "ok",
    "value": 'say "a,b"\nc',
    "cost_usd": "0.1",
    "reserved_usd": None,
    "request_id": "r",
    "finish_reason": "stop",
    "evaluation": None,
    "error": None,
}


def parts(tmp_path: Path, name: str) -> tuple[Plan, Input, State]:
    (tmp_path / "in.jsonl").write_text('{"a": null, "b": 12345678901234567890123}\n{"b": {"c": "é"}}\n')
    table = Input(tmp_path / "in.jsonl")
    plan = Plan(PromptTemplate("{{ b }}"), "m", "said", tmp_path / name)
    state = open_state(plan, table, "echo/m")
    state.ended(1, RESULT)
    return plan, table, state


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("out.csv", 'a,b,said\n,12345678901234567890123,"say ""a,b""\nc"\n,"{""c"": ""é""}",\n'),
        ("out.tsv", 'a\tb\tsaid\n\t12345678901234567890123\t"say ""a,b""\nc"\n\t"{""c"": ""é""}"\t\n'),
    ],
)
def test_json_lines_as_csv(tmp_path: Path, name: str, expected: str) -> None:
    plan, table, state = parts(tmp_path, name)
    assert write_output(plan, table, state, 2).read_text() == expected
    state.close()


def test_an_output_of_a_table_that_was_changed_meanwhile_is_not_written(tmp_path: Path) -> None:
    plan, table, state = parts(tmp_path, "out.jsonl")
    table.path.write_text('{"b": 1}\n')
    with pytest.raises(InvalidRequest, match="was changed during the run"):
        write_output(plan, table, state, 2)
    state.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl.state"]


def test_a_failure_while_writing_leaves_what_was_there(tmp_path: Path) -> None:
    plan, table, state = parts(tmp_path, "out.jsonl")
    plan.output.write_text("before")
    state.ended(2, {"status": "ok", "cost_usd": None, "reserved_usd": None})  # a result without its value
    with pytest.raises(KeyError):
        write_output(plan, table, state, 2)
    state.close()
    assert plan.output.read_text() == "before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl", "out.jsonl.state"]


def test_an_output_that_cannot_be_put_in_its_place_is_named_with_what_to_do(tmp_path: Path) -> None:
    plan, table, state = parts(tmp_path, "out.csv")
    plan.output.mkdir()
    with pytest.raises(OSError, match=r"out\.csv\.state, and the same command writes them.*out\.csv'$"):
        write_output(plan, table, state, 2)
    state.close()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n1\n")
    plan = Plan(PromptTemplate("{{ a }}"), "m", "said", tmp_path / "none" / "out.csv")
    with pytest.raises(InvalidRequest, match=r"there is no folder .*none\. Make it"):
        open_state(plan, Input(tmp_path / "in.csv"), "echo/m")
