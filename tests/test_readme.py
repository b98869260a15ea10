"""The README promises nothing that does not hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from maester import Request, Runtime, config
from maester.cli import root

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("text", blocks("toml"))
def test_its_configurations_load(text: str, tmp_path: Path) -> None:
    path = tmp_path / "maester.toml"
    path.write_text(text)
    assert config.load(path, {}).models


def test_its_answer_costs_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "maester.toml"
    path.write_text(blocks("toml")[0])
    question = re.search(r'"prompt": "(We will[^"]*)"', README)
    assert question is not None
    with Runtime.build(path, environ={"MAESTER_DATA_DIR": str(tmp_path / "data")}) as runtime:
        request = Request(model="support", messages=[{"role": "user", "content": question[1]}])
        inference = runtime.execute(request).raise_for_error()
    assert inference.passed is True
    assert inference.cost is not None
    assert f"cost ${inference.cost.total_usd:f}" in README


def test_its_python_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    program = next(block for block in blocks("python") if "Runtime.build" in block)
    exec(compile(program, "README.md", "exec"), {})  # the README is ours
    assert capsys.readouterr().out.splitlines()[-1] == "Say hello. 0 None"


def test_its_links_lead_somewhere() -> None:
    linked = re.findall(r"\]\((docs/[^)#]+)", README)
    assert linked
    assert [page for page in linked if not (ROOT / page).is_file()] == []
    assert {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")} == set(linked)


def test_its_commands_exist() -> None:
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    named = set(re.findall(r"`maester ([a-z]+)", prose))
    named |= set(re.findall(r"^(?:\$ |.* && )?maester ([a-z]+)", README, re.MULTILINE))
    assert {"serve", "find", "trace", "inferences", "config", "keys", "doctor"} <= named
    for command in named:
        assert CliRunner().invoke(root, [command, "--help"]).exit_code == 0, command


def test_it_says_how_to_run_the_tests() -> None:
    assert "pip install . && maester serve" in README
    assert "pip install -e '.[test]' && pytest" in README
