"""Tables: what is read of them, and how it is told what is wrong with them."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from maester.enrichment import Input
from maester.errors import InvalidRequest


def table(tmp_path: Path, name: str, content: str | bytes) -> Input:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Input(path)


def test_csv_with_mark_quotes_newlines_and_empty_lines(tmp_path: Path) -> None:
    found = table(tmp_path, "a.csv", '\ufeffid,text\r\n1,"a, ""b""\r\nc"\r\n\r\n2,\r\n')
    assert found.columns == ("id", "text")
    assert found.count == 2
    assert [(row.number, row.line, dict(row.values)) for row in found.rows()] == [
        (1, 2, {"id": "1", "text": 'a, "b"\r\nc'}),
        (2, 5, {"id": "2", "text": ""}),
    ]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", "x;y\n1,5;b\n"),
        ("a.tsv", "x\ty\n1,5\tb\n"),
        ("a.csv", "x|y\n1,5|b\n"),
        ("a.csv", 'x,"y"\n"1,5",b\n'),
    ],
)
def test_the_delimiter_is_found(tmp_path: Path, name: str, content: str) -> None:
    (row,) = table(tmp_path, name, content).rows()
    assert row.values == {"x": "1,5", "y": "b"}


def test_json_lines_keep_what_they_are_written_as(tmp_path: Path) -> None:
    found = table(tmp_path, "a.jsonl", '{"a": 1.10}\n\n {"b": "x", "a": 12345678901234567890123}\n')
    assert found.columns == ("a", "b")
    first, second = found.rows()
    assert (first.line, second.line, second.number) == (1, 3, 2)
    assert first.text == '{"a": 1.10}'
    assert second.values["a"] == 12345678901234567890123


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", "a,b\n1,2\n3\n4,5,6\n", "line 3 has 1 field, the header 2; line 4 has 3 fields"),
        ("a.csv", "a,b,a\n1,2,3\n", "columns 1 and 3 are both called 'a'"),
        ("a.csv", "a,,c\n1,2,3\n", "column 2 has no name"),
        ("a.csv", "", "it is empty"),
        ("a.csv", "a,b\n", "no rows"),
        ("a.csv", 'a,b\n1,2\n1,"x"y\n', "line 3: "),
        ("a.csv", 'a,b\n1,2\n1,"x\n', "line 3: "),
        ("a.csv", b"a,b\n1,2\n1,\xe9\n", "line 3: it is not UTF-8"),
        ("a.jsonl", '{"a": 1}\n[1]\n{"a": \n', "line 2 is not a JSON object; line 3 is not JSON"),
        ("a.jsonl", '{"a": NaN}\n', "line 1 is not JSON: NaN"),
        ("a.jsonl", "[" * 100_000, "line 1 is not JSON"),
        ("a.jsonl", b'{"a": "\xff"}\n', "line 1: it is not UTF-8"),
        ("a.xlsx", "PK", ".csv, .tsv, .jsonl, .ndjson"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(
    tmp_path: Path, name: str, content: str | bytes, told: str
) -> None:
    with pytest.raises(InvalidRequest) as caught:
        table(tmp_path, name, content)
    assert told in caught.value.message


def test_a_large_table_is_not_held_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "large.csv"
    with path.open("w") as file:
        file.write("id,text\n")
        file.writelines(f"{number},{'x' * 1000}\n" for number in range(10_000))
    tracemalloc.start()
    found = Input(path)
    assert sum(1 for _ in found.rows()) == found.count == 10_000
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert path.stat().st_size > 10_000_000
    assert peak < 2_000_000


def test_a_change_is_noticed(tmp_path: Path) -> None:
    found = table(tmp_path, "a.csv", "a\n1\n")
    assert found.unchanged()
    found.path.write_text("a\n1\n2\n")
    assert not found.unchanged()
    found.path.unlink()
    assert not found.unchanged()
