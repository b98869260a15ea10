"""docs/configuration.md says what the schema says."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from marshmallow import missing

from maester import config
from maester.config.layers import Layers, Origin
from maester.config.problems import Problems
from maester.config.provider_schema import OPTIONS
from maester.config.schema import CONFIGURATION
from maester.config.tables import FreeTable
from maester.config.toml import dumps
from maester.config.tree import settings as all_settings
from maester.config.usual import USUAL
from maester.config.variables import DIRECT, NOT_SETTINGS, lay_variables
from maester.errors import ConfigError

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
TEXT = PAGE.read_text(encoding="utf-8")

HEADINGS = {
    "Top level": (),
    "`[server]`": ("server",),
    "`[ledger]`": ("ledger",),
    "`[log]`": ("log",),
    "`[stages]`": ("stages",),
    "`[providers.NAME]`": ("providers", "*"),
    "`[models.ALIAS]`": ("models", "*"),
    "`[[models.ALIAS.deployments]]`": ("models", "*", "deployments", "*"),
    "`[resilience]`": ("resilience",),
    "`[evaluate]`": ("evaluate",),
    "`[[prices]]`": ("prices", "*"),
    "`[plugins]`": ("plugins",),
    "`[jobs]`": ("jobs",),
    "`[cache]`": ("cache",),
    "`[idempotency]`": ("idempotency",),
    "`[metrics]`": ("metrics",),
}


@cache
def documented() -> dict[tuple[str, ...], str]:
    """Every documented key with the default that the page gives."""
    found: dict[tuple[str, ...], str] = {}
    for section in re.split(r"^### ", TEXT, flags=re.MULTILINE)[1:]:
        heading, _, body = section.partition("\n")
        if heading in HEADINGS:
            keys = body.partition("| key | default | meaning |")[2].partition("\n\n")[0]
            for key, default in re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", keys, re.MULTILINE):
                found[(*HEADINGS[heading], key)] = default
    return found


def known() -> dict[tuple[str, ...], Any]:
    """Every key of the schema, options of providers apart, with its field."""
    found: dict[tuple[str, ...], Any] = {}
    for path, field in all_settings(CONFIGURATION):
        names = tuple(str(part) for part in path)
        if "options" not in names:
            found[names] = field
    return found | {("providers", "*", "options"): FreeTable("Options.")}


def test_every_key_is_documented_and_no_other() -> None:
    assert set(documented()) == set(known())


@pytest.mark.parametrize("path", sorted(known()), ids=".".join)
def test_the_default_is_the_documented_one(path: tuple[str, ...]) -> None:
    field = known()[path]
    default = field.load_default() if callable(field.load_default) else field.load_default
    if field.required:
        expected = "the name" if path[-1] == "type" else "required"
    elif default is None or default is missing:
        expected = "not set"
    else:
        expected = f"`{dumps({'x': default})[4:].strip()}`"
    assert documented()[path] == expected


def test_every_option_is_documented_with_its_types() -> None:
    rows = TEXT.partition("| option | types | meaning |")[2].partition("\n\n")[0]
    found = dict(re.findall(r"^\| `(\w+)` \| (.+?) \| .+ \|$", rows, re.MULTILINE))
    expected: dict[str, list[str]] = defaultdict(list)
    for kind, options in OPTIONS.items():
        for name in options.fields:
            expected[name].append(kind)
    texts = {
        name: "all but `echo`" if len(kinds) == len(OPTIONS) - 1 else ", ".join(f"`{kind}`" for kind in kinds)
        for name, kinds in expected.items()
    }
    assert found == texts


EXAMPLES = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_is_a_configuration(example: str, tmp_path: Path) -> None:
    environ = dict.fromkeys(re.findall(r"\$\{(\w+)", example), "x1") | {"OPENAI_API_KEY": "k"}
    environ.pop("PORT", None)
    path = tmp_path / "maester.toml"
    path.write_text(example, encoding="utf-8")
    settings = config.load(path, environ)
    assert settings.source == path
    written = tomllib.loads(example)
    off = {name for name, table in written.get("providers", {}).items() if table.get("enabled") is False}
    assert written.get("providers", {}).keys() - off <= settings.providers.keys()
    assert not off & settings.providers.keys()
    assert written.get("models", {}).keys() == settings.models.keys()
    assert len(settings.prices) >= len(written.get("prices", []))


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 6


def test_every_variable_on_the_page_is_known() -> None:
    layers = Layers()
    layers.put(("models", "gpt-4.1"), {"provider": "echo"}, lambda _: Origin())
    mentioned = set(re.findall(r"\bMAESTER_[A-Z0-9_]+", TEXT)) - {"MAESTER_SERVICE_HOST"}
    assert mentioned > {*DIRECT, "MAESTER_CONFIG", "MAESTER_SERVER__PORT"}
    problems = Problems()
    lay_variables(layers, dict.fromkeys(mentioned - NOT_SETTINGS, ""), {}, problems)
    problems.raise_any(None)


def test_every_short_name_and_every_usual_variable_is_on_the_page() -> None:
    for variable, path in DIRECT.items():
        assert f"| `{variable}` | `{'.'.join(map(str, path))}` |" in TEXT
    rows = {
        name: next(line for line in TEXT.splitlines() if line.startswith(f"| `{name}` | "))
        for name in (*USUAL, "echo")
    }
    for name, usual in USUAL.items():
        for variables in usual.settings.values():
            assert [v for v in variables if f"`{v}`" in rows[name]] == list(variables)


def test_the_shown_errors_are_those_that_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = (
        '# 1\n[server]\nprot = 1\n# 4\n# 5\n[providers.groq]\napi_key = "${GROQ_API_KEY}"\ntype = "openai"\n'
    )
    Path("maester.toml").write_text(file, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(None, {"MAESTER_PORT": "9a"})
    assert f"error [config_error] {caught.value.message}\n```" in TEXT
