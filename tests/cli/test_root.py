"""The root of the command line: help, exit codes, errors, plugins' commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from maester.cli import COMMANDS, exits, root
from maester.errors import all_codes
from support.console import MAESTER, clean_environment, maester


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_says_what_the_list_says(name: str) -> None:
    command = COMMANDS[name].load()
    assert command.name == name
    assert COMMANDS[name].help == (command.help or "").strip().splitlines()[0]


def leaves(command: click.Command, words: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    if not isinstance(command, click.Group):
        return [words]
    return [leaf for name, each in command.commands.items() for leaf in leaves(each, (*words, name))]


LEAVES = [leaf for name, each in COMMANDS.items() for leaf in leaves(each.load(), (name,))]


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_has_the_common_options_and_explains_itself(words: tuple[str, ...]) -> None:
    command: click.Command = root
    for word in words:
        found = command.get_command(click.Context(root), word) if isinstance(command, click.Group) else None
        assert found is not None
        command = found
    options = {option for parameter in command.params for option in parameter.opts}
    if words != ("completion",):
        assert {"--config", "--json"} <= options
    result = CliRunner().invoke(root, [*words, "--help"])
    assert result.exit_code == exits.OK
    assert command.help
    assert all(each.help for each in command.params if isinstance(each, click.Option))


def test_help_imports_nothing_that_it_does_not_need(tmp_path: Path) -> None:
    heavy = ("sqlalchemy", "flask", "marshmallow", "requests", "rich", "pluggy", "orjson", "gunicorn")
    program = (
        "import sys\n"
        "from maester.cli import root\n"
        "try:\n    root.main(['--help'], prog_name='maester')\n"
        "except SystemExit:\n    pass\n"
        f"print([name for name in {heavy!r} if name in sys.modules], file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.stderr.strip() == "[]"
    assert "serve" in done.stdout


def test_version(tmp_path: Path) -> None:
    done = maester("--version", cwd=tmp_path)
    assert done.stdout.startswith("maester ")
    assert done.returncode == 0


def test_a_wrong_command_line_is_one_line_on_stderr(tmp_path: Path) -> None:
    done = maester("inferences", "--nonsense", cwd=tmp_path)
    assert done.returncode == exits.USAGE
    assert done.stdout == ""
    assert (
        done.stderr == "error [usage_error] No such option '--nonsense'. Try `maester inferences --help`.\n"
    )


def test_an_error_is_a_json_object_when_json_is_asked_for(tmp_path: Path) -> None:
    done = maester("nonsense", "--json", cwd=tmp_path)
    assert done.returncode == exits.USAGE
    assert done.stdout == ""
    assert json.loads(done.stderr)["error"]["code"] == "usage_error"


def test_json_behind_two_dashes_is_no_option(tmp_path: Path) -> None:
    done = maester("nonsense", "--", "--json", cwd=tmp_path)
    assert done.stderr.startswith("error [usage_error]")


def test_a_wrong_configuration_exits_with_78_and_lists_every_problem(tmp_path: Path) -> None:
    (tmp_path / "maester.toml").write_text("[server]\nprot = 1\nport = 'x'\n")
    done = maester("plugins", cwd=tmp_path)
    assert done.returncode == exits.CONFIG
    assert done.stderr.startswith("error [config_error]")
    assert "Traceback" not in done.stderr
    as_json = maester("plugins", "--json", cwd=tmp_path)
    assert as_json.returncode == exits.CONFIG
    problems = json.loads(as_json.stderr)["error"]["problems"]
    assert {problem["key"] for problem in problems} == {"server.prot", "server.port"}


@pytest.mark.parametrize("place", ["before", "behind"])
def test_the_configuration_can_be_named_before_or_behind_the_command(tmp_path: Path, place: str) -> None:
    other = tmp_path / "other.toml"
    other.write_text("[models.fast]\nprovider = 'echo'\nmodel = 'echo'\n")
    option = ("--config", str(other))
    words = (*option, "config", "check") if place == "before" else ("config", "check", *option)
    done = maester(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "fast" in done.stdout


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    done = maester("config", "check", "--config", "nowhere.toml", cwd=tmp_path)
    assert done.returncode == exits.CONFIG
    assert "nowhere.toml does not exist" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("trace",),
        ("inferences", "show"),
        ("inferences", "list", "--model"),
        ("keys", "revoke"),
        ("keys", "create", "--name", "a", "--models"),
    ],
)
def test_bytes_that_are_no_text_are_refused(tmp_path: Path, words: tuple[str, ...]) -> None:
    done = maester(*words, os.fsdecode(b"a\xff"), "--json", cwd=tmp_path)
    assert done.returncode == exits.USAGE
    assert "is not UTF-8 text" in json.loads(done.stderr)["error"]["message"]


def test_a_reader_that_went_away_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [MAESTER, "config", "schema"],
        cwd=tmp_path,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == exits.BROKEN_PIPE


def test_a_defect_is_one_line_and_the_place_is_shown_on_demand() -> None:
    @root.command("defective", hidden=True)
    def defective() -> None:
        raise ZeroDivisionError("oh")

    try:
        runner = CliRunner()
        # A command that is registered at run time stands where those of plugins do.
        root._foreign = {"defective": defective}
        told = runner.invoke(root, ["defective"])
        shown = runner.invoke(root, ["--debug", "defective"])
    finally:
        root._foreign = None
        root.commands.clear()
    assert told.exit_code == exits.SOFTWARE
    assert told.stderr == "error [internal_error] ZeroDivisionError: oh. `maester --debug …` shows where.\n"
    assert "Traceback" in shown.stderr


PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def test_every_error_has_an_exit_code_that_is_documented() -> None:
    for code, kind in all_codes().items():
        number = exits.code_of(kind("x"))
        assert number != exits.OK, code
        assert f"| {number} |" in PAGE, code
    for name, number in vars(exits).items():
        if isinstance(number, int):
            assert f"| {number} |" in PAGE, name


@pytest.mark.parametrize("words", LEAVES, ids=" ".join)
def test_every_command_is_documented(words: tuple[str, ...]) -> None:
    row = next(
        line for line in PAGE.splitlines() if line.startswith(f"| `maester {words[0]}") and words[-1] in line
    )
    assert row


def test_it_can_be_run_as_a_module(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "maester", "--version"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.startswith("maester ")


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    """Three installed distributions: one brings commands, one breaks on import, one brings rubbish."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "greeting.py").write_text(
        "import click, maester\n"
        "@click.command()\n"
        "def greet():\n"
        "    '''Greet somebody.'''\n"
        "    click.echo('good day')\n"
        "@click.command('run')\n"
        "def run():\n"
        "    '''Take the place of one of Maester's own.'''\n"
        "@maester.hookimpl\n"
        "def maester_register_commands(register):\n"
        "    register(greet)\n"
        "    register(run)\n"
    )
    (site / "broken.py").write_text("raise RuntimeError('no such luck')\n")
    (site / "rubbish.py").write_text(
        "import maester\n@maester.hookimpl\ndef maester_register_commands(register):\n    register(7)\n"
    )
    for name in ("greeting", "broken", "rubbish"):
        info = site / f"{name}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[maester]\n{name} = {name}\n")
    return site


def test_plugins_add_commands_and_a_broken_one_breaks_nothing(tmp_path: Path, plugins: Path) -> None:
    environ = {"PYTHONPATH": str(plugins)}
    page = maester("--help", cwd=tmp_path, environ=environ)
    assert page.returncode == 0
    assert "Greet somebody." in page.stdout
    assert "Take the place" not in page.stdout
    assert "Plugin broken is left out, it failed: RuntimeError: no such luck" in page.stderr
    assert "7, which is not a click command" in page.stderr
    done = maester("greet", cwd=tmp_path, environ=environ)
    assert done.stdout == "good day\n"
    assert done.returncode == 0


def test_maesters_own_commands_do_not_wait_for_plugins(tmp_path: Path, plugins: Path) -> None:
    done = maester("completion", "fish", cwd=tmp_path, environ={"PYTHONPATH": str(plugins)})
    assert done.returncode == 0
    assert done.stderr == ""


def test_plugins_shows_what_loaded_and_what_failed(tmp_path: Path, plugins: Path) -> None:
    environ = {"PYTHONPATH": str(plugins)}
    done = maester("plugins", "--json", cwd=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr
    reports = {report["name"]: report for report in json.loads(done.stdout)["data"]}
    assert reports["greeting"]["status"] == "loaded"
    assert reports["greeting"]["version"] == "1.2"
    assert reports["broken"]["status"] == "failed"
    assert reports["broken"]["error"] == "RuntimeError: no such luck"
    assert "echo" in reports["maester.providers"]["provides"]["provider"]
    plain = maester("plugins", cwd=tmp_path, environ=environ)
    assert plain.stdout.splitlines()[0].split() == ["NAME", "STATUS", "DISTRIBUTION", "VERSION", "PROVIDES"]
    assert "broken: RuntimeError: no such luck" in plain.stderr


def test_plugins_is_told_also_when_the_configuration_counts_on_one_that_failed(
    tmp_path: Path, plugins: Path
) -> None:
    (tmp_path / "maester.toml").write_text('[plugins]\nrequired = ["broken"]\n')
    environ = {"PYTHONPATH": str(plugins)}
    done = maester("plugins", "--json", cwd=tmp_path, environ=environ)
    assert done.returncode == 0, done.stderr
    assert "no such luck" in done.stdout
    refused = maester("run", "hi", cwd=tmp_path, environ=environ)
    assert refused.returncode == exits.CONFIG


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(tmp_path: Path, shell: str) -> None:
    done = maester("completion", shell, cwd=tmp_path)
    assert done.returncode == 0
    assert "_MAESTER_COMPLETE" in done.stdout


def test_completion_completes(tmp_path: Path) -> None:
    environ = {"_MAESTER_COMPLETE": "bash_complete", "COMP_WORDS": "maester inf", "COMP_CWORD": "1"}
    assert maester(cwd=tmp_path, environ=environ).stdout == "plain,inferences\n"
    environ |= {"COMP_WORDS": "maester inferences l", "COMP_CWORD": "2"}
    assert maester(cwd=tmp_path, environ=environ).stdout == "plain,list\n"
