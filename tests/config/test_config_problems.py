"""What is said of a wrong configuration: all of it, with places, and no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from maester import config
from maester.config.masking import mask, redact
from maester.errors import ConfigError


def problems_of(tmp_path: Path, text: str, environ: dict[str, str] | None = None) -> dict[str, dict]:
    """What is wrong, by key."""
    path = tmp_path / "maester.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(path, environ or {})
    return {problem["key"]: problem for problem in caught.value.problems}


def test_everything_is_told_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "maester.toml"
    path.write_text('[log]\nlevel = "loud"\n[server]\nprot = 1\nport = "80"\n', encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(path, {"MAESTER_WORKERS": "many"})
    assert caught.value.message.splitlines() == [
        f"The configuration ({path}) has 4 problems:",
        f"  - {path}:2: log.level: must be one of debug, info, warning, error, critical,"
        ' found the string "loud"',
        f"  - {path}:4: server.prot: is not a known key; did you mean server.port?",
        f'  - {path}:5: server.port: must be an integer from 0 to 65535, found the string "80"',
        "  - environment MAESTER_WORKERS: server.workers: must be an integer from 1 to 1024,"
        ' found the string "many"',
    ]
    assert caught.value.param == "log.level"


@pytest.mark.parametrize(
    ("text", "key", "line", "message"),
    [
        ("sever = 1", "sever", 1, "is not a known key"),
        ("server = 1", "server", 1, "must be a table"),
        ("providers = 1", "providers", 1, "must be a table of tables"),
        ("providers.x = 1", "providers.x", 1, "must be a table"),
        ("models = [1]", "models", 1, "must be a table of tables"),
        ("prices = {a = 1}", "prices", 1, "must be a list of tables"),
        ("prices = [1]", "prices[0]", 1, "must be a table"),
        ("data_dir = 3", "data_dir", 1, "must be a non-empty string"),
        ('data_dir = " "', "data_dir", 1, "must be a non-empty string"),
        ("[server]\nport = 65536", "server.port", 2, "must be an integer from 0 to 65535"),
        ("[server]\nport = true", "server.port", 2, "must be an integer from 0 to 65535"),
        ("[server]\nport = 80.0", "server.port", 2, "must be an integer from 0 to 65535"),
        ("[server]\nmax_body_bytes = 0", "server.max_body_bytes", 2, "must be an integer from 1 to"),
        ("[log]\ninferences = 1", "log.inferences", 2, "must be true or false"),
        (
            "[ledger]\nflush_interval_s = 0",
            "ledger.flush_interval_s",
            2,
            "must be a number of seconds above 0",
        ),
        ("[ledger]\nflush_interval_s = nan", "ledger.flush_interval_s", 2, "must be a number of seconds"),
        ("[ledger]\nflush_interval_s = inf", "ledger.flush_interval_s", 2, "must be a number of seconds"),
        ('[ledger]\nurl = "mysql://h/d"', "ledger.url", 2, "must be an address such as postgresql://"),
        ('[ledger]\nurl = "postgresql:///d"', "ledger.url", 2, "must be an address such as postgresql://"),
        ('[stages]\ndisabled = "meter"', "stages.disabled", 2, "must be a list of distinct strings"),
        ('[stages]\ndisabled = ["a", "a"]', "stages.disabled", 2, "must be a list of distinct strings"),
        ("[stages]\ndisabled = [1]", "stages.disabled", 2, "must be a list of distinct strings"),
        ("[stages]\ndisabled = [{}]", "stages.disabled", 2, "must be a list of distinct strings"),
        ('[providers."a b"]\ntype = "echo"', 'providers."a b"', 1, "must be a name of letters, digits"),
        ('[models."a b"]\nprovider = "echo"\nmodel = "m"', 'models."a b"', 1, "must be a name without"),
        ("[providers.x]\n", "providers.x.type", 1, "is missing; it must be one of openai, azure"),
        ('[providers.x]\ntype = "gpt"', "providers.x.type", 2, "must be one of openai, azure"),
        ("[providers.anthropic]\n", "providers.anthropic.api_key", 1, "is missing; set ANTHROPIC_API_KEY"),
        ("[providers.azure]\n", "providers.azure.base_url", 1, "is missing; set AZURE_OPENAI_ENDPOINT"),
        (
            '[providers.ollama]\nbase_url = "localhost:11434"',
            "providers.ollama.base_url",
            2,
            "must be an address such as https://",
        ),
        (
            '[providers.ollama]\nbase_url = "http://h/?a=b"',
            "providers.ollama.base_url",
            2,
            "must be an address such as https://",
        ),
        (
            '[providers.ollama]\nbase_url = "http://h:99999"',
            "providers.ollama.base_url",
            2,
            "must be an address such as https://",
        ),
        (
            "[providers.echo]\n[providers.echo.options]\nspeed = 1",
            "providers.echo.options.speed",
            3,
            "is not a known key; known are delay_s",
        ),
        (
            "[providers.echo]\noptions = {delay_s = -1}",
            "providers.echo.options.delay_s",
            2,
            "must be a number of seconds from 0 up to 3600",
        ),
        (
            "[providers.echo]\noptions = {usage = {tokens = 1}}",
            "providers.echo.options.usage",
            2,
            "must be false, or a table of integers from 0 up under: cache_read_audio_tokens",
        ),
        (
            '[providers.ollama]\nbase_url = "http://h"\noptions = {headers = {"a b" = "c"}}',
            "providers.ollama.options.headers",
            3,
            "must be a table of strings",
        ),
        ('[models.m]\nprovider = "echo"', "models.m.model", 1, "is missing; it must be a non-empty string"),
        ('[evaluate]\nchecks = "non_empty"', "evaluate.checks", 2, "must be a list of checks"),
        ("[evaluate]\nchecks = [\n\n3]", "evaluate.checks[0]", 4, "must be the name of an evaluator"),
        ("[evaluate]\nchecks = [{}]", "evaluate.checks[0].name", 2, "must say which evaluator to run"),
        (
            '[evaluate]\nchecks = ["a", {name = "b", required = "no"}]',
            "evaluate.checks[1].required",
            2,
            "must be true or false",
        ),
        ("[evaluate]\nchecks = [" + "'a'," * 65 + "]", "evaluate.checks", 2, "must have at most 64 checks"),
        ('[evaluate]\non_failure = "stop"', "evaluate.on_failure", 2, "must be one of observe, block"),
        (
            '[plugins]\ndisabled = ["a"]\nrequired = ["a"]',
            "plugins.required[0]",
            3,
            "'a' is also in plugins.disabled",
        ),
    ],
)
def test_each_problem_has_its_key_line_and_what_would_be_right(
    tmp_path: Path, text: str, key: str, line: int, message: str
) -> None:
    problem = problems_of(tmp_path, text)[key]
    assert problem["message"].startswith(message)
    assert problem["line"] == line
    assert problem["origin"] == f"{tmp_path / 'maester.toml'}:{line}"


@pytest.mark.parametrize(
    ("text", "nearest"),
    [
        ("[providers.openai]\nbase_url = 'http://h'\ntimeout_s = 3", "providers.openai.idle_timeout_s"),
        ("[providers.openai]\nbase_url = 'http://h'\napikey = 'x'", "providers.openai.api_key"),
        ("[Server]", "server"),
        ("[model.x]", "models"),
        ("[[price]]", "prices"),
        (
            "[providers.openai]\nbase_url = 'http://h'\noptions = {organisation = 'x'}",
            "providers.openai.options.organization",
        ),
    ],
)
def test_an_unknown_key_comes_with_the_nearest_one(tmp_path: Path, text: str, nearest: str) -> None:
    (problem,) = problems_of(tmp_path, text).values()
    assert problem["nearest"] == nearest


def test_an_unknown_section_may_be_that_of_a_plugin(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, "[tides]\nx = 1").values()
    assert "no plugin that is loaded declares a section of that name" in problem["message"]


def test_a_missing_key_names_the_variable_that_made_the_table(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "", {"MAESTER_PROVIDERS__GROQ__API_KEY": "k" * 30})
    assert problems["providers.groq.type"]["origin"] == "environment MAESTER_PROVIDERS__GROQ__API_KEY"


def test_a_wrong_usual_variable_is_named(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, "", {"OPENAI_BASE_URL": "localhost:8000/v1"})
    assert problems["providers.openai.base_url"]["variable"] == "OPENAI_BASE_URL"
    assert problems["providers.openai.base_url"]["found"] == 'the string "localhost:8000/v1"'


SECRET = "a9Zq-Tr0ub4dor_&3"


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        (f'[providers.openai]\napi_key = ["{SECRET}"]', {}),
        (f'[providers.openai]\napi_kye = "{SECRET}"', {}),
        (f'[providers.x]\ntype = "{SECRET}"\napi_key = "{SECRET}"', {}),
        (f'[providers.x]\ntype = "openai"\nbase_url = "http//u:{SECRET}@host"', {}),
        (f'[ledger]\nurl = "mysql://u:{SECRET}@host/d"', {}),
        (f'[ledger]\nurl = "postgresql://u:{SECRET}/@host:x/d"', {}),
        ('[ledger]\nurl = "mysql://u:${DB_PASSWORD}@host/d"', {"DB_PASSWORD": SECRET}),
        ('[log]\nlevel = "${API_KEY}"', {"API_KEY": SECRET}),
        ("", {"MAESTER_LEDGER_URL": f"mysql://u:{SECRET}@host/d"}),
        ("", {"MAESTER_PROVIDERS__OPENAI__API_KYE": SECRET}),
        ("", {"MAESTER_PROVIDERS": f'{{"x": {{"api_key": "{SECRET}", "type": "{SECRET}"}}}}'}),
        ("", {"MAESTER_PROVIDERS__X__OPTIONS__HEADERS": f'{{"Authorization": "{SECRET}"}}'}),
        ('[log]\nlevel = "sk-abcdefghijklmnop"', {}),
        ("[log]\nlevel = '" + "x" * 55 + SECRET + "'", {"MAESTER_PROVIDERS__X__API_KEY": SECRET}),
    ],
)
def test_no_problem_tells_a_secret(tmp_path: Path, text: str, environ: dict[str, str]) -> None:
    path = tmp_path / "maester.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        config.load(path, environ)
    told = f"{caught.value} {caught.value.problems!r} {caught.value.__cause__} {caught.value.as_dict()}"
    for part in (SECRET, SECRET[:8], SECRET[-8:], "abcdefgh"):
        assert part not in told


def test_masks_tell_long_secrets_apart_and_short_ones_not() -> None:
    assert mask("sk-proj-abcdefghijklmnopf3a9") == "sk-…f3a9"
    assert mask("AIzaSyABCDEFGHIJKLMNOPQRSTUVf3a9") == "…f3a9"
    assert mask("short-secret") == "****"
    assert redact("at https://me:pw@host/x and sk-abcdefghijklmnop", {"host"}) == (
        "at https://me:****@****/x and ****"
    )
