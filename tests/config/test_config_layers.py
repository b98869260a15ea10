"""Defaults, the file, and MAESTER_* variables over it."""

from __future__ import annotations

from pathlib import Path

import pytest

from maester import config
from maester.config.layers import DEFAULT, Origin
from maester.errors import ConfigError
from maester.model import Check
from maester.settings import (
    EvaluateSettings,
    LedgerSettings,
    LogSettings,
    PluginSettings,
    ServerSettings,
    Settings,
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(folder: Path, text: str, name: str = "maester.toml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_without_anything_there_are_the_defaults_and_echo(folder: Path) -> None:
    settings = config.load(environ={})
    assert (settings.server, settings.ledger, settings.log) == (
        ServerSettings(),
        LedgerSettings(),
        LogSettings(),
    )
    assert (settings.evaluate, settings.plugins) == (EvaluateSettings(), PluginSettings())
    assert settings.data_dir == Settings().data_dir
    assert list(settings.providers) == ["echo"]
    assert settings.source is None
    assert set(settings.origins.values()) == {"default"}
    assert not settings.secrets


def test_the_file_beside_one_is_read(folder: Path) -> None:
    written(folder, "[server]\nport = 9000\n")
    settings = config.load(environ={})
    assert settings.server.port == 9000
    assert settings.origins["server.port"] == "maester.toml:2"
    assert settings.origins["server.host"] == "default"
    assert settings.source == Path("maester.toml")


def test_the_file_that_the_variable_names_comes_before_the_one_beside(folder: Path) -> None:
    written(folder, "[server]\nport = 9000\n")
    other = written(folder, "[server]\nport = 9001\n", "other.toml")
    assert config.load(environ={"MAESTER_CONFIG": str(other)}).server.port == 9001
    third = written(folder, "[server]\nport = 9002\n", "third.toml")
    settings = config.load(third, environ={"MAESTER_CONFIG": str(other)})
    assert settings.server.port == 9002
    assert settings.origins["server.port"] == f"{third}:2"


def test_variables_win_over_the_file(folder: Path) -> None:
    written(folder, '[server]\nport = 9000\nhost = "::1"\n[log]\nlevel = "debug"\n')
    settings = config.load(environ={"MAESTER_SERVER__PORT": "9001", "MAESTER_LOG_LEVEL": "ERROR"})
    assert (settings.server.port, settings.server.host, settings.log.level) == (9001, "::1", "error")
    assert settings.origins["server.port"] == "environment MAESTER_SERVER__PORT"
    assert settings.origins["log.level"] == "environment MAESTER_LOG_LEVEL"
    assert settings.origins["server.host"] == "maester.toml:3"


def test_a_table_in_a_variable_is_merged_key_by_key(folder: Path) -> None:
    written(folder, '[server]\nport = 9000\nhost = "::1"\n')
    environ = {"MAESTER_SERVER": "{port = 9001, workers = 2}", "MAESTER_SERVER__WORKERS": "3"}
    server = config.load(environ=environ).server
    assert (server.host, server.port, server.workers) == ("::1", 9001, 3)


@pytest.mark.parametrize(
    ("variable", "text", "key", "value"),
    [
        ("MAESTER_DATA_DIR", "/srv/x", "data_dir", Path("/srv/x")),
        ("MAESTER_HOST", "0.0.0.0", "server.host", "0.0.0.0"),
        ("MAESTER_PORT", "1", "server.port", 1),
        ("MAESTER_WORKERS", " 7 ", "server.workers", 7),
        ("MAESTER_LEDGER_URL", "sqlite:///x.db", "ledger.url", "sqlite:///x.db"),
        ("MAESTER_CAPTURE", "none", "log.capture", "none"),
        ("MAESTER_LOG__INFERENCES", "off", "log.inferences", False),
        ("MAESTER_LOG__INFERENCES", "True", "log.inferences", True),
        ("MAESTER_LEDGER__FLUSH_INTERVAL_S", "0.25", "ledger.flush_interval_s", 0.25),
        ("MAESTER_STAGES__DISABLED", "evaluate, meter", "disabled_stages", ("evaluate", "meter")),
        ("MAESTER_STAGES__DISABLED", '["evaluate"]', "disabled_stages", ("evaluate",)),
        ("MAESTER_PLUGINS__REQUIRED", "['a', 'b']", "plugins.required", ("a", "b")),
        (
            "MAESTER_EVALUATE__CHECKS",
            '["non_empty", {"name": "max_length", "words": 3}]',
            "evaluate.checks",
            (Check("non_empty"), Check("max_length", {"words": 3})),
        ),
    ],
)
def test_text_of_a_variable_becomes_what_belongs_there(
    folder: Path, variable: str, text: str, key: str, value: object
) -> None:
    found: object = config.load(environ={variable: text})
    for part in key.split("."):
        found = getattr(found, part)
    assert found == value


def test_a_variable_reaches_names_of_the_users_choice(folder: Path) -> None:
    written(folder, '[models."gpt-4.1"]\nprovider = "echo"\nmodel = "one"\n')
    settings = config.load(
        environ={
            "MAESTER_MODELS__GPT_4_1__MODEL": "two",
            "MAESTER_MODELS__FAST__MODEL": "three",
            "MAESTER_MODELS__FAST__PROVIDER": "echo",
        }
    )
    assert {alias: model.model for alias, model in settings.models.items()} == {
        "gpt-4.1": "two",
        "fast": "three",
    }
    assert settings.origins['models."gpt-4.1".model'] == "environment MAESTER_MODELS__GPT_4_1__MODEL"


def test_a_variable_that_may_mean_two_names_is_an_error(folder: Path) -> None:
    written(
        folder, "".join(f'[models."{name}"]\nprovider = "echo"\nmodel = "m"\n' for name in ("a-b", "a.b"))
    )
    with pytest.raises(ConfigError, match=r"MAESTER_MODELS__A_B__MODEL: may mean a-b or a\.b"):
        config.load(environ={"MAESTER_MODELS__A_B__MODEL": "n"})
    with (folder / "maester.toml").open("a") as file:
        file.write('[models.A_b]\nprovider = "echo"\nmodel = "m"\n')
    models = config.load(environ={"MAESTER_MODELS__A_B__MODEL": "n"}).models
    assert {alias: model.model for alias, model in models.items()} == {"a-b": "m", "a.b": "m", "A_b": "n"}


def test_an_empty_variable_says_nothing(folder: Path) -> None:
    settings = config.load(environ={"MAESTER_PORT": "", "MAESTER_LEDGER_URL": " ", "OPENAI_API_KEY": ""})
    assert settings.server.port == 8000
    assert settings.ledger.url is None
    assert "openai" not in settings.providers


def test_two_names_of_one_key_must_agree(folder: Path) -> None:
    same = {"MAESTER_PORT": "9000", "MAESTER_SERVER__PORT": "9000"}
    assert config.load(environ=same).server.port == 9000
    with pytest.raises(
        ConfigError, match=r"MAESTER_SERVER__PORT: server\.port: differs from what MAESTER_PORT"
    ):
        config.load(environ=same | {"MAESTER_PORT": "9001"})


def test_variables_that_are_no_settings_are_left_alone(folder: Path) -> None:
    settings = config.load(environ={"MAESTER_KEY": "mk_abc"})
    assert set(settings.origins.values()) == {"default"}


def test_what_kubernetes_sets_for_a_service_of_this_name_is_left_alone(folder: Path) -> None:
    settings = config.load(
        environ={
            "MAESTER_PORT": "tcp://10.0.0.7:8000",
            "MAESTER_SERVICE_HOST": "10.0.0.7",
            "MAESTER_SERVICE_PORT": "8000",
            "MAESTER_SERVICE_PORT_HTTP": "8000",
            "MAESTER_PORT_8000_TCP": "tcp://10.0.0.7:8000",
            "MAESTER_PORT_8000_TCP_PROTO": "tcp",
            "MAESTER_PORT_8000_TCP_ADDR": "10.0.0.7",
        }
    )
    assert settings.server.port == 8000


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("MAESTER_SERVER_PORT", "MAESTER_SERVER__PORT"),
        ("MAESTER_LOG__LEVLE", "MAESTER_LOG__LEVEL"),
        ("MAESTER_LEDGERURL", "MAESTER_LEDGER_URL"),
        ("MAESTER_PROVIDERS__ECHO__API_KYE", "MAESTER_PROVIDERS__ECHO__API_KEY"),
        ("MAESTER_CONFG", "MAESTER_CONFIG"),
    ],
)
def test_an_unknown_variable_is_an_error_with_the_nearest_name(
    folder: Path, variable: str, nearest: str
) -> None:
    written(folder, "[providers.echo]\n")
    with pytest.raises(ConfigError) as caught:
        config.load(environ={variable: "sk-a-secret-value-1234"})
    (problem,) = caught.value.problems
    assert problem["variable"] == variable
    assert problem["nearest"] == nearest
    assert "a-secret-value" not in str(caught.value)


def test_data_dir_may_be_in_the_home_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    assert config.load(environ={"MAESTER_DATA_DIR": "~/ledger"}).data_dir == folder / "ledger"


class TestReferences:
    """``${VARIABLE}`` in the file."""

    def load(self, folder: Path, text: str, environ: dict[str, str]) -> Settings:
        return config.load(written(folder, text), environ)

    def test_a_variable_a_default_and_a_plain_dollar(self, folder: Path) -> None:
        text = """
        data_dir = "${ROOT}/x${EMPTY:-y}$${ROOT}$5"
        [server]
        host = "${HOST:-::1}"
        """
        settings = self.load(folder, text, {"ROOT": "/srv", "EMPTY": ""})
        assert settings.data_dir == Path("/srv/xy${ROOT}$5")
        assert settings.server.host == "::1"
        path = folder / "maester.toml"
        assert settings.origins["data_dir"] == f"{path}:2 (${{ROOT}})"
        assert settings.origins["server.host"] == f"{path}:4"

    def test_one_takes_the_type_that_belongs_there(self, folder: Path) -> None:
        text = """
        [server]
        port = "${PORT}"
        graceful_timeout_s = "${WAIT:-1.5}"
        [log]
        inferences = "${LOGGED}"
        [plugins]
        disabled = "${OFF}"
        [[prices]]
        provider = "p"
        model = "m"
        input = "${PRICE}"
        """
        environ = {"PORT": "9000", "LOGGED": "no", "OFF": "a,b", "PRICE": "0.1"}
        settings = self.load(folder, text, environ)
        assert settings.server.port == 9000
        assert settings.server.graceful_timeout_s == 1.5
        assert settings.log.inferences is False
        assert settings.plugins.disabled == ("a", "b")
        assert str(settings.prices[0].amount_usd) == "1E-7"

    def test_one_to_a_variable_that_is_not_set_is_an_error(self, folder: Path) -> None:
        with pytest.raises(ConfigError) as caught:
            self.load(folder, '\n[providers.openai]\napi_key = "${NO_KEY}"\n', {})
        (problem,) = caught.value.problems
        assert problem["key"] == "providers.openai.api_key"
        assert (problem["file"], problem["line"]) == (str(folder / "maester.toml"), 3)
        assert "NO_KEY" in problem["message"]

    def test_one_is_not_needed_where_a_variable_wins_or_the_provider_is_off(self, folder: Path) -> None:
        text = """
        [server]
        port = "${NO_PORT}"
        [providers.anthropic]
        enabled = false
        api_key = "${NO_KEY}"
        """
        settings = self.load(folder, text, {"MAESTER_PORT": "9000"})
        assert settings.server.port == 9000
        assert "anthropic" not in settings.providers

    def test_one_inside_a_list_counts_like_any_other(self, folder: Path) -> None:
        text = '[evaluate]\nchecks = [{name = "required_terms", terms = [\n"${A}"]}]\n'
        (check,) = self.load(folder, text, {"A": "x"}).evaluate.checks
        assert check.parameters == {"terms": ["x"]}
        with pytest.raises(ConfigError) as caught:
            self.load(folder, text, {})
        assert caught.value.problems[0]["key"] == "evaluate.checks[0].terms[0]"
        assert caught.value.problems[0]["line"] == 3

    @pytest.mark.parametrize("text", ["${}", "${1X}", "${A-b}", "x${A", "${A:b}"])
    def test_a_malformed_one_is_an_error(self, folder: Path, text: str) -> None:
        with pytest.raises(ConfigError, match="is no reference to a variable"):
            self.load(folder, f'data_dir = "{text}"', {"A": "a"})

    def test_text_of_variables_is_not_looked_into(self, folder: Path) -> None:
        settings = self.load(folder, 'data_dir = "${A}"', {"A": "${B}", "MAESTER_HOST": "${C}"})
        assert (str(settings.data_dir), settings.server.host) == ("${B}", "${C}")


class TestFiles:
    """Files that cannot be used."""

    def test_one_that_was_asked_for_must_be_there(self, folder: Path) -> None:
        with pytest.raises(ConfigError, match=r"nowhere\.toml does not exist"):
            config.load("nowhere.toml", {})
        with pytest.raises(ConfigError, match=r"nowhere\.toml, which MAESTER_CONFIG names, does not exist"):
            config.load(None, {"MAESTER_CONFIG": "nowhere.toml"})

    def test_one_must_be_readable(self, folder: Path) -> None:
        with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
            config.load(folder, {})

    def test_one_must_be_toml(self, folder: Path) -> None:
        path = written(folder, "[server]\nport = \n")
        with pytest.raises(ConfigError, match=r"maester\.toml:2 is not valid TOML: Invalid value") as caught:
            config.load(path, {})
        assert caught.value.problems[0]["line"] == 2

    def test_one_must_be_text(self, folder: Path) -> None:
        path = folder / "maester.toml"
        path.write_bytes(b"a = 1\nb = '\xff'\n")
        with pytest.raises(ConfigError, match=r"maester\.toml:2 is not UTF-8 text"):
            config.load(path, {})

    def test_nesting_without_end_is_an_error_and_no_crash(self, folder: Path) -> None:
        path = written(folder, f"a = {'[' * 20_000}")
        with pytest.raises(ConfigError, match="nested too deeply"):
            config.load(path, {})

    def test_nor_is_there_sense_in_what_is_only_deep(self, folder: Path) -> None:
        path = written(folder, f"a = {'[' * 80}{']' * 80}", "deep.toml")
        with pytest.raises(ConfigError, match="nested too deeply"):
            config.load(path, {})
        with pytest.raises(ConfigError, match=r"evaluate\.checks: must be a list of checks"):
            config.load(None, {"MAESTER_EVALUATE__CHECKS": "[" * 80 + "]" * 80})
        with pytest.raises(ConfigError, match=r"evaluate\.checks: must be a list of checks"):
            config.load(None, {"MAESTER_EVALUATE__CHECKS": "[" * 100_000})

    def test_a_byte_order_mark_does_not_matter(self, folder: Path) -> None:
        path = folder / "maester.toml"
        path.write_bytes(b"\xef\xbb\xbf[server]\r\nport = 9000\r\n")
        settings = config.load(path, {})
        assert settings.server.port == 9000
        assert settings.origins["server.port"] == f"{path}:2"


class TestBeforePlugins:
    """What has to be known before plugins are imported."""

    def test_disabled_plugins(self, folder: Path) -> None:
        path = written(folder, '[plugins]\ndisabled = ["a"]\n[somebody]\nx = 1\n')
        assert config.disabled_plugins(path, {}) == ("a",)
        assert config.disabled_plugins(path, {"MAESTER_PLUGINS__DISABLED": "b,c"}) == ("b", "c")
        assert config.disabled_plugins(environ={}) == ("a",)

    def test_a_wrong_list_disables_nothing(self, folder: Path) -> None:
        assert config.disabled_plugins(written(folder, "[plugins]\ndisabled = 3\n"), {}) == ()
        assert config.disabled_plugins(written(folder, "plugins = 3\n"), {}) == ()

    def test_server_and_log_alone(self, folder: Path) -> None:
        path = written(folder, '[server]\nport = 9000\n[log]\nlevel = "loud"\n[somebody]\nx = 1\n')
        settings = config.early(path, {"MAESTER_WORKERS": "3"})
        assert (settings.server.port, settings.server.workers) == (9000, 3)
        assert settings.log == LogSettings()
        assert config.early(folder / "nowhere.toml", {}) == Settings()


def test_origins_are_text_that_knows_its_parts() -> None:
    assert Origin() == DEFAULT == "default"
    origin = Origin("maester.toml", 3, "KEY")
    assert origin == "maester.toml:3 (${KEY})"
    assert (origin.file, origin.line, origin.variable) == ("maester.toml", 3, "KEY")
    assert Origin(variable="KEY") == "environment KEY"
    assert Origin("maester.toml") == "maester.toml"
