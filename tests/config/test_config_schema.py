"""The JSON Schema of the file, and the configuration as it is shown."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from marshmallow import Schema, fields, validate

from maester import config
from maester.config.schema import CONFIGURATION
from maester.config.tree import settings as all_settings
from maester.errors import ConfigError
from maester.settings import Settings


class Weather(Schema):
    """A plugin's section."""

    units = fields.String(load_default="metric", validate=validate.OneOf(["metric", "imperial"]))
    days = fields.Integer(required=True, validate=validate.Range(1, 14), metadata={"description": "How far."})
    token = fields.String()
    places = fields.List(fields.Nested(Schema.from_dict({"city": fields.String(required=True)})))


SECTIONS = {"weather": Weather, "tides": None}
VALIDATOR = jsonschema_rs.validator_for(config.json_schema(SECTIONS))

GOOD = """
data_dir = "x"
[server]
port = "${PORT:-8000}"
[ledger]
url = "postgresql://h/d"
[log]
level = "debug"
[providers.openai]
api_key = "${KEY:-k}"
options = { organization = "o", headers = { X-Team = "a" } }
[providers."a.b"]
type = "azure"
base_url = "https://h"
api_key = "k"
options = { api_version = "2024-10-21" }
[providers.echo.options]
usage = { input_tokens = 3 }
[models."gpt-4.1"]
provider = "openai"
model = "m"
evaluate = ["non_empty", { name = "max_length", words = 3, required = false }]
[[prices]]
provider = "openai"
model = "m"
valid_from = 2026-01-01
input = 0.15
output = "0.60"
[plugins]
required = ["weather"]
[weather]
days = 3
places = [{ city = "Oslo" }]
[tides]
anything = [1, "2"]
"""

BAD = [
    "sever = 1",
    "server.prot = 1",
    "server.port = 65536",
    'server.port = "80"',
    "server.graceful_timeout_s = -1",
    'log.level = "loud"',
    'ledger.url = "mysql://h"',
    "stages.disabled = [1]",
    'stages.disabled = ["a", "a"]',
    '[providers.x]\ntype = "gpt"',
    '[providers.openai]\napi_key = "k"\napi_kye = "k"',
    '[providers.x]\ntype = "openai"\napi_key = "k"\noptions = { api_version = "v1" }',
    "[providers.echo]\noptions = { speed = 1 }",
    '[providers."a b"]\ntype = "echo"',
    '[models.x]\nprovider = "openai"',
    '[evaluate]\nchecks = "non_empty"',
    "[evaluate]\nchecks = [{ words = 3 }]",
    '[[prices]]\nprovider = "p"\ninput = 1',
    '[[prices]]\nprovider = "p"\nmodel = "m"\ninput = "free"',
    '[weather]\nunits = "metric"',
    "[weather]\ndays = 15",
    "[weather]\ndays = 3\nplaces = [{}]",
]


def as_json(text: str) -> Any:
    """TOML as editors see it when they check it with a JSON Schema: dates are text."""
    return json.loads(json.dumps(tomllib.loads(text), default=str))


def test_the_schema_is_one() -> None:

    jsonschema_rs.meta.validate(config.json_schema(SECTIONS))


def test_the_schema_takes_what_is_right(tmp_path: Path) -> None:
    errors = [error.message for error in VALIDATOR.iter_errors(as_json(GOOD))]
    assert not errors
    path = tmp_path / "maester.toml"
    path.write_text(GOOD, encoding="utf-8")
    assert config.load(path, {}, SECTIONS).models["gpt-4.1"].model == "m"


@pytest.mark.parametrize("text", BAD)
def test_schema_and_check_refuse_the_same(tmp_path: Path, text: str) -> None:
    assert not VALIDATOR.is_valid(as_json(text))
    path = tmp_path / "maester.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError):
        config.load(path, {}, SECTIONS)


def test_every_setting_says_what_it_means_and_its_default() -> None:
    schema = config.json_schema({})
    for path, field in all_settings(CONFIGURATION):
        here = schema
        for part in path:
            if part == "*":
                here = here.get("additionalProperties") or here["items"]
            else:
                here = here["properties"][part]
        assert here.get("description", "").endswith("."), f"{path} has no description"
        if not callable(field.load_default) and isinstance(field.load_default, str | int | float):
            assert here["default"] == field.load_default


def test_the_defaults_are_those_of_the_settings() -> None:
    loaded = CONFIGURATION.load({})
    plain = Settings()
    for section in ("server", "ledger", "log"):
        values = getattr(plain, section)
        assert loaded[section] == {name: getattr(values, name) for name in values.__slots__}
    assert loaded["data_dir"] == str(plain.data_dir)


SHOWN = """
data_dir = "$${HOME}/x"
[ledger]
url = "postgresql://me:pass-word@h/d"
[providers.groq]
type = "openai"
base_url = "https://u:other-pass@api.groq.com/v1"
api_key = "gsk_0123456789abcdefghijf3a9"
[providers.groq.options]
headers = { Authorization = "Bearer 0123456789abcdefghij", X-Team = "search" }
[providers.anthropic]
enabled = false
api_key = "short-secret"
[models.fast]
provider = "groq"
model = "m"
evaluate = ["non_empty"]
[[prices]]
provider = "groq"
model = "m"
input = 0.05
[weather]
days = 3
token = "weather-token"
"""

SECRETS = (
    "pass-word",
    "other-pass",
    "0123456789abcdefghij",
    "short-secret",
    "weather-token",
    "sk-env-0123456789",
)


@pytest.fixture
def shown(tmp_path: Path) -> config.Resolved:
    """A configuration with secrets in every place that has them."""
    path = tmp_path / "maester.toml"
    path.write_text(SHOWN, encoding="utf-8")
    environ = {"OPENAI_API_KEY": "sk-env-0123456789abcdwxyz", "MAESTER_PORT": "9000"}
    return config.resolve(path, environ, SECTIONS)


def test_what_is_shown_has_no_secret(shown: config.Resolved) -> None:
    for origins in (False, True):
        text = config.as_toml(shown, SECTIONS, origins=origins)
        text += json.dumps(config.as_json(shown, SECTIONS, origins=origins), ensure_ascii=False)
        assert not [secret for secret in SECRETS if secret in text]
        assert 'api_key = "gsk_…f3a9"' in text
        assert 'api_key = "sk-…wxyz"' in text
        assert 'url = "postgresql://me:****@h/d"' in text
        assert 'X-Team = "search"' in text


def test_what_is_shown_is_a_configuration_again(shown: config.Resolved, tmp_path: Path) -> None:
    again = tmp_path / "again.toml"
    again.write_text(config.as_toml(shown, SECTIONS, origins=True), encoding="utf-8")
    first, second = config.settings_of(shown), config.load(again, {}, SECTIONS)
    assert str(second.data_dir) == "${HOME}/x"
    for name in ("server", "log", "evaluate", "plugins", "prices", "models", "disabled_stages"):
        assert getattr(first, name) == getattr(second, name)
    assert list(first.providers) == list(second.providers) == ["groq", "openai", "echo"]
    assert first.sections["weather"]["days"] == second.sections["weather"]["days"] == 3


def test_origins_are_said_behind_the_values(shown: config.Resolved) -> None:
    lines = config.as_toml(shown, SECTIONS, origins=True).splitlines()
    assert "port = 9000  # environment MAESTER_PORT" in lines
    assert f'type = "openai"  # {shown.source}:6' in lines
    assert "workers = 1  # default" in lines
    assert 'units = "metric"  # default' in lines
    assert f"days = 3  # {shown.source}:23" in lines
    plain = config.as_toml(shown, SECTIONS, origins=False).splitlines()
    assert "port = 9000" in plain
    assert not [line for line in plain[1:] if "default" in line]


def test_the_same_as_json(shown: config.Resolved) -> None:
    document = json.loads(json.dumps(config.as_json(shown, SECTIONS, origins=True)))
    assert document["source"] == str(shown.source)
    assert document["settings"]["server"]["port"] == 9000
    assert document["settings"]["prices"][0]["input"] == "0.05"
    assert document["settings"]["weather"]["units"] == "metric"
    assert document["origins"]["server.port"] == "environment MAESTER_PORT"
    assert document["origins"]["providers.groq.base_url"] == f"{shown.source}:7"
    assert "origins" not in config.as_json(shown, SECTIONS, origins=False)
