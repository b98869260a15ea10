"""``maester prices``, as it is called."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import update

from maester.cli import exits, root
from maester.database import Database
from maester.database.schema import prices as table

Run = Callable[..., Result]

CONFIGURATION = """
[[prices]]
provider = "openai"
model = "gpt-4o-mini"
input = 0.1

[[prices]]
provider = "local"
model = "qwen-.*"
match = "regex"
input = 0
output = 0
"""


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in a folder of its own, in which nothing is configured."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MAESTER_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.delenv("MAESTER_CONFIG", raising=False)

    def run(*words: str) -> Result:
        return CliRunner().invoke(root, ["prices", *words])

    return run


def shown(run: Run, *words: str) -> list[dict[str, Any]]:
    result = run("show", *words, "--json")
    assert result.exit_code == exits.OK, result.stderr
    return json.loads(result.stdout)["data"]  # type: ignore[no-any-return]


def test_show(run: Run) -> None:
    result = run("show", "gpt-4o-mini", "--provider", "openai")
    assert result.exit_code == exits.OK, result.stderr
    head, *lines = result.stdout.splitlines()
    columns = ("provider", "model", "unit", "usd", "per", "tier", "above", "from", "to", "source")
    assert head.lower().split() == list(columns)
    assert lines[0].split()[:6] == ["openai", "gpt-4o-mini", "input", "0.15", "1M", "-"]


def test_show_as_json_gives_exact_unit_prices(run: Run) -> None:
    found = shown(run, "gpt-4o-mini-2024-07-18", "--provider", "openai")
    standard = {row["unit"]: row["unit_price_usd"] for row in found if row["service_tier"] is None}
    assert standard["input"] == "0.00000015"
    assert standard["output"] == "0.0000006"
    assert {row["provider"] for row in found} == {"openai"}


def test_show_at_a_date_and_all_of_history(run: Run) -> None:
    words = ("claude-opus-4-6", "--provider", "anthropic")
    now, then = (shown(run, *words, *more) for more in ((), ("--at", "2026-03-12")))
    assert max(row["above_input_tokens"] for row in now) == 0
    assert max(row["above_input_tokens"] for row in then) == 200_000
    history = shown(run, *words, "--history")
    assert len(history) > max(len(now), len(then))
    assert {row["valid_to"] for row in history} >= {None, "2026-03-13"}


def test_show_times_of_day(run: Run) -> None:
    found = shown(run, "deepseek-chat", "--provider", "deepseek")
    assert [row["conditions"] for row in found] == [{}] * 3 + [{"time_of_day": "00:30:00/16:30:00"}] * 3


def test_show_what_is_configured_over_what_is_listed(run: Run, tmp_path: Path) -> None:
    (tmp_path / "maester.toml").write_text(CONFIGURATION)
    found = shown(run, "gpt-4o-mini", "--provider", "openai")
    sources = {row["unit"]: row["source"] for row in found if row["service_tier"] is None}
    assert (sources["input"], sources["output"]) == ("configuration", "genai-prices")
    assert [row["unit_price_usd"] for row in shown(run, "qwen-3", "--provider", "local")] == ["0", "0"]


def test_show_something_unknown(run: Run) -> None:
    result = run("show", "gpt-4o-mni")
    assert (result.exit_code, result.stdout) == (exits.NOT_FOUND, "")
    assert "no model 'gpt-4o-mni'. Nearest names: gpt-4o-mini" in result.stderr
    result = run("show", "gpt-4o-mini", "--provider", "nobody")
    assert (result.exit_code, result.stdout) == (exits.NOT_FOUND, "")
    assert "no model 'gpt-4o-mini' of nobody." in result.stderr
    assert run("show", "gpt-4o-mini", "--at", "yesterday").exit_code == exits.USAGE


def test_show_a_moment_without_a_price(run: Run, tmp_path: Path) -> None:
    coming = '[[prices]]\nprovider = "acme"\nmodel = "m"\ninput = 1\nvalid_from = 2030-01-01\n'
    (tmp_path / "maester.toml").write_text(coming)
    result = run("show", "m")
    assert (result.exit_code, result.stdout) == (exits.OK, "")
    assert "no price of it is valid" in result.stderr


def test_update_and_diff(run: Run, tmp_path: Path) -> None:
    first = run("diff", "--json")
    assert first.exit_code == exits.OK, first.stderr
    (compared,) = json.loads(first.stdout)["data"]
    assert compared["source"] == "genai-prices"
    assert compared["added"] == len(compared["changes"]) > 5000
    result = run("update")
    assert (result.exit_code, result.stderr) == (exits.OK, "")
    assert result.stdout.endswith(f": {compared['added']:,} added\n")
    assert run("update", "--source", "genai-prices").stdout.endswith(": no change\n")
    database = Database(f"sqlite:///{tmp_path / 'data' / 'ledger.db'}")
    changed = (table.c.provider == "openai") & (table.c.model == "gpt-4o-mini") & (table.c.unit == "input")
    standard = changed & table.c.service_tier.is_(None)
    database.write(lambda c: c.execute(update(table).where(standard).values(amount_usd="0.000001")))
    database.close()
    result = run("diff")
    assert result.stderr.endswith(": 1 changed\n")
    assert result.stdout.splitlines()[1].split()[:7] == [
        *("changed", "openai/gpt-4o-mini", "input", "-", "-"),
        *("1", "0.15"),
    ]
    (summary,) = json.loads(run("update", "--json").stdout)["data"]
    assert (summary["added"], summary["changed"], summary["closed"]) == (0, 1, 0)
    assert run("diff").stdout == ""


def test_unknown_source(run: Run) -> None:
    result = run("update", "--source", "nobody")
    assert (result.exit_code, result.stdout) == (exits.FAILED, "")
    assert "no stored price source nobody; there are: genai-prices" in result.stderr
