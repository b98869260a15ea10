"""Sections that plugins declare, and names that only plugins can make good."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from marshmallow import RAISE, Schema, fields, validate

from maester import config
from maester.config import check_names
from maester.errors import ConfigError
from maester.evaluators import MaxLength, NonEmpty, RequiredTerms
from maester.settings import Settings


class Place(Schema):
    """A table inside a plugin's section."""

    city = fields.String(required=True)


class Weather(Schema):
    """A plugin's section, with marshmallow's own fields."""

    class Meta:
        """Unknown keys are errors, as they are by default."""

        unknown = RAISE

    units = fields.String(load_default="metric", validate=validate.OneOf(["metric", "imperial"]))
    days = fields.Integer(load_default=3, validate=validate.Range(1, 14))
    cached = fields.Boolean(load_default=True)
    api_key = fields.String()
    pin = fields.String(metadata={"secret": True})
    ratio = fields.Float()
    places = fields.List(fields.Nested(Place))
    by_name = fields.Dict(keys=fields.String(), values=fields.Nested(Place))
    base_url = fields.String(data_key="base-url")


class Insistent(Schema):
    """A section without which its plugin cannot work."""

    account = fields.String(required=True)


class Broken(Schema):
    """A schema with a defect."""

    x = fields.Function(deserialize=lambda value: 1 / 0)


def load(tmp_path: Path, text: str, environ: dict[str, str] | None = None, **sections: object) -> Settings:
    path = tmp_path / "maester.toml"
    path.write_text(text, encoding="utf-8")
    return config.load(path, environ or {}, sections or {"weather": Weather})


def test_a_section_is_read_by_the_plugins_schema(tmp_path: Path) -> None:
    text = '[weather]\ndays = 5\nratio = 0.5\n[weather.by_name.home]\ncity = "${CITY}"\n'
    settings = load(tmp_path, text, {"CITY": "Oslo"})
    assert settings.sections["weather"] == {
        "units": "metric",
        "days": 5,
        "cached": True,
        "ratio": 0.5,
        "by_name": {"home": {"city": "Oslo"}},
    }
    assert settings.named_sections == {"weather"}
    assert settings.origins["weather.days"] == f"{settings.source}:2"
    assert type(settings.sections["weather"]["ratio"]) is float


def test_variables_reach_a_section(tmp_path: Path) -> None:
    environ = {
        "MAESTER_WEATHER__DAYS": "7",
        "MAESTER_WEATHER__CACHED": "no",
        "MAESTER_WEATHER__BASE_URL": "http://h",
        "MAESTER_WEATHER__PLACES": '[{"city": "Oslo"}]',
        "MAESTER_WEATHER__BY_NAME__HOME__CITY": "Rome",
    }
    section = load(tmp_path, "", environ).sections["weather"]
    assert (section["days"], section["cached"], section["base_url"]) == (7, False, "http://h")
    assert section["places"] == [{"city": "Oslo"}]
    assert section["by_name"] == {"home": {"city": "Rome"}}


def test_a_section_that_nobody_names_has_its_defaults(tmp_path: Path) -> None:
    settings = load(tmp_path, "")
    assert settings.sections == {"weather": {"units": "metric", "days": 3, "cached": True}}
    assert settings.named_sections == frozenset()


def test_what_a_plugin_insists_on_concerns_only_those_who_name_it(tmp_path: Path) -> None:
    assert load(tmp_path, "", insistent=Insistent).sections == {}
    with pytest.raises(ConfigError, match=r"insistent\.account: Missing data"):
        load(tmp_path, "[insistent]\n", insistent=Insistent)


def test_problems_of_a_section_are_told_like_any_other(tmp_path: Path) -> None:
    text = """
    [weather]
    dyas = 3
    days = "many"
    units = "kelvin"
    api_key = 5
    pin = ["5588-secret"]
    [[weather.places]]
    city = "Oslo"
    [[weather.places]]
    town = "Rome"
    [weather.by_name]
    home = { city = 3 }
    """
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    problems = {problem["key"]: problem for problem in caught.value.problems}
    assert problems["weather.dyas"]["nearest"] == "weather.days"
    assert problems["weather.days"]["found"] == 'the string "many"'
    assert problems["weather.days"]["line"] == 4
    assert problems["weather.units"]["message"] == "Must be one of: metric, imperial."
    assert problems["weather.places[1].town"]["nearest"] is None
    assert problems["weather.places[1].city"]["line"] == 10
    assert problems["weather.by_name.home.city"]["line"] == 13
    assert "5588-secret" not in str(caught.value)


def test_secrets_of_a_section_are_known(tmp_path: Path) -> None:
    settings = load(tmp_path, '[weather]\napi_key = "k-1234567"\npin = "5588"\nunits = "metric"\n')
    assert settings.secrets == {"k-1234567", "5588"}


def test_the_section_of_a_plugin_that_failed_is_taken_as_it_is(tmp_path: Path) -> None:
    settings = load(tmp_path, "[tides]\nanything = 1\n", {"MAESTER_TIDES__MORE__X": "2"}, tides=None)
    assert settings.sections == {"tides": {"anything": 1, "more": {"x": "2"}}}
    assert settings.named_sections == {"tides"}
    assert load(tmp_path, "", tides=None).sections == {}


def test_the_section_of_a_disabled_plugin_may_stay(tmp_path: Path) -> None:
    text = '[tides]\nport = "x"\n'
    with pytest.raises(ConfigError, match="tides: is not a known key"):
        load(tmp_path, text)
    load(tmp_path, text + '[plugins]\ndisabled = ["tides"]\n')
    load(tmp_path, text, {"MAESTER_PLUGINS__DISABLED": "tides", "MAESTER_TIDES__PORT": "y"})


def test_a_schema_with_a_defect_is_a_problem_of_its_section(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"broken: could not be checked: .* ZeroDivisionError"):
        load(tmp_path, "[broken]\nx = 1\n", broken=Broken)
    assert load(tmp_path, "", broken=Broken).sections == {"broken": {}}


def test_a_plugin_cannot_take_a_section_of_maesters_own(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"\[server\], which is one of Maester's own"):
        load(tmp_path, "", server=Weather)


class TestNames:
    """What the configuration names must be registered."""

    def check(self, settings: Settings) -> None:
        check_names(
            settings,
            providers=["echo", "openai"],
            stages=["trace", "gateway", "meter", "evaluate", "log"],
            evaluators={each.name: each for each in (NonEmpty(), RequiredTerms(), MaxLength())},
        )

    def test_what_is_there_is_fine(self, tmp_path: Path) -> None:
        text = """
        [stages]
        disabled = ["evaluate"]
        [models.fast]
        provider = "openai"
        model = "m"
        evaluate = ["non_empty", {name = "max_length", words = 3}]
        [evaluate]
        checks = [{name = "required_terms", terms = ["a"]}]
        """
        self.check(load(tmp_path, text))

    def test_what_is_not_is_told_all_at_once(self, tmp_path: Path) -> None:
        text = """
        [stages]
        disabled = ["evalute"]
        [models.fast]
        provider = "opnai"
        model = "m"
        evaluate = ["nonempty", "non_empty", "non_emty"]
        [evaluate]
        checks = [{name = "required_terms", words = 3}]
        """
        settings = load(tmp_path, text)
        with pytest.raises(ConfigError) as caught:
            self.check(settings)
        problems = {problem["key"]: problem for problem in caught.value.problems}
        assert {key: problem["line"] for key, problem in problems.items()} == {
            "stages.disabled": 3,
            "models.fast.provider": 5,
            "models.fast.evaluate[0]": 7,
            "models.fast.evaluate[2]": 7,
            "evaluate.checks[0]": 9,
        }
        assert problems["stages.disabled"]["nearest"] == "evaluate"
        assert problems["models.fast.provider"]["nearest"] == "openai"
        assert "non_emty" in problems["models.fast.evaluate[2]"]["message"]
        assert problems["evaluate.checks[0]"]["message"].startswith("terms (required_terms): ")

    def test_settings_made_in_code_have_no_origins(self) -> None:
        with pytest.raises(ConfigError, match=r"\n  - stages\.disabled: names the stage 'x'"):
            self.check(replace(Settings(), disabled_stages=("x",)))
