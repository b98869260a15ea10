"""Providers: from usual variables, from the file, and the one merged over the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from maester import config, providers
from maester.config.provider_schema import OPTIONS, TYPES
from maester.config.usual import ollama_address
from maester.errors import ConfigError
from maester.settings import ProviderSettings, Settings


def load(tmp_path: Path, text: str, environ: dict[str, str]) -> Settings:
    path = tmp_path / "maester.toml"
    path.write_text(text, encoding="utf-8")
    return config.load(path, environ)


@pytest.mark.parametrize(
    ("environ", "name", "expected"),
    [
        ({"OPENAI_API_KEY": "k1"}, "openai", {"api_key": "k1", "base_url": None}),
        ({"OPENAI_BASE_URL": "http://h:1/v1/"}, "openai", {"api_key": None, "base_url": "http://h:1/v1"}),
        (
            {"OPENAI_API_KEY": "k1", "OPENAI_ORG_ID": "o", "OPENAI_PROJECT_ID": "p"},
            "openai",
            {"options": {"organization": "o", "project": "p"}},
        ),
        (
            {"ANTHROPIC_API_KEY": "k1", "ANTHROPIC_BASE_URL": "https://h"},
            "anthropic",
            {"api_key": "k1", "base_url": "https://h"},
        ),
        ({"GEMINI_API_KEY": "k1"}, "gemini", {"api_key": "k1"}),
        ({"GOOGLE_API_KEY": "k2"}, "gemini", {"api_key": "k2"}),
        ({"GEMINI_API_KEY": "k1", "GOOGLE_API_KEY": "k2"}, "gemini", {"api_key": "k1"}),
        (
            {
                "AZURE_OPENAI_API_KEY": "k1",
                "AZURE_OPENAI_ENDPOINT": "https://r.openai.azure.com/",
                "OPENAI_API_VERSION": "2024-06-01",
                "AZURE_OPENAI_API_VERSION": "2024-10-21",
            },
            "azure",
            {
                "api_key": "k1",
                "base_url": "https://r.openai.azure.com",
                "options": {"api_version": "2024-10-21"},
            },
        ),
        (
            {
                "AZURE_OPENAI_API_KEY": "k1",
                "AZURE_OPENAI_ENDPOINT": "https://h",
                "OPENAI_API_VERSION": "v1",
            },
            "azure",
            {"options": {"api_version": "v1"}},
        ),
        ({"OLLAMA_HOST": "gpu-box"}, "ollama", {"base_url": "http://gpu-box:11434", "api_key": None}),
    ],
)
def test_usual_variables_turn_a_provider_on(
    tmp_path: Path, environ: dict[str, str], name: str, expected: dict[str, Any]
) -> None:
    settings = load(tmp_path, "", environ)
    assert set(settings.providers) == {name, "echo"}
    found = settings.providers[name]
    assert found.type == name
    assert {key: getattr(found, key) for key in expected} == expected
    assert {key for key in environ if key.endswith("API_KEY")} >= {
        origin.removeprefix("environment ")
        for key, origin in settings.origins.items()
        if key == f"providers.{name}.api_key" and origin != "default"
    }
    assert settings.secrets == ({found.api_key} if found.api_key else set())


@pytest.mark.parametrize(
    "environ",
    [
        {"ANTHROPIC_BASE_URL": "https://h"},
        {"AZURE_OPENAI_API_KEY": "k"},
        {"AZURE_OPENAI_ENDPOINT": "https://h"},
        {"OPENAI_API_VERSION": "2024-10-21"},
        {"OPENAI_ORG_ID": "o"},
        {"OLLAMA_HOST": " "},
    ],
)
def test_half_of_what_a_provider_needs_does_not_turn_it_on(tmp_path: Path, environ: dict[str, str]) -> None:
    assert list(load(tmp_path, "", environ).providers) == ["echo"]


def test_a_table_is_merged_over_the_variables(tmp_path: Path) -> None:
    text = '[providers.openai]\nbase_url = "http://h/v1"\ntotal_timeout_s = 5\n'
    environ = {"OPENAI_API_KEY": "k1", "OPENAI_BASE_URL": "http://other/v1"}
    settings = load(tmp_path, text, environ)
    openai = settings.providers["openai"]
    assert (openai.api_key, openai.base_url, openai.total_timeout_s) == ("k1", "http://h/v1", 5.0)
    assert settings.origins["providers.openai.api_key"] == "environment OPENAI_API_KEY"
    assert settings.origins["providers.openai.base_url"] == f"{settings.source}:2"
    assert list(settings.providers) == ["openai", "echo"]


def test_maester_variables_win_over_the_usual_ones(tmp_path: Path) -> None:
    environ = {"OPENAI_API_KEY": "k1", "MAESTER_PROVIDERS__OPENAI__API_KEY": "k2"}
    assert load(tmp_path, "", environ).providers["openai"].api_key == "k2"


def test_a_key_does_not_go_to_a_table_of_another_type(tmp_path: Path) -> None:
    text = (
        '[providers.openai]\ntype = "anthropic"\nbase_url = "http://h"\n[providers.mine]\ntype = "openai"\n'
    )
    with pytest.raises(ConfigError, match=r"providers\.mine\.api_key: is missing"):
        load(tmp_path, text, {"OPENAI_API_KEY": "k1"})
    settings = load(tmp_path, text + 'base_url = "http://h"\n', {"OPENAI_API_KEY": "k1"})
    assert [provider.api_key for provider in settings.providers.values()] == [None, None, None]


def test_a_provider_is_switched_off(tmp_path: Path) -> None:
    text = "[providers.openai]\nenabled = false\n[providers.echo]\nenabled = false\n"
    assert not load(tmp_path, text, {"OPENAI_API_KEY": "k1"}).providers
    assert "echo" not in load(tmp_path, "", {"MAESTER_PROVIDERS__ECHO__ENABLED": "false"}).providers


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:9999", "http://gpu-box:9999"),
        (":9999", "http://127.0.0.1:9999"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("0.0.0.0:9999", "http://127.0.0.1:9999"),
        ("[::]:9999", "http://[::1]:9999"),
        ("::1", "http://[::1]:11434"),
        ("[::1]", "http://[::1]:11434"),
        ("10.0.0.7", "http://10.0.0.7:11434"),
        ("http://gpu-box", "http://gpu-box"),
        ("https://gpu-box/ollama/", "https://gpu-box/ollama"),
        ("http://0.0.0.0:9999", "http://127.0.0.1:9999"),
        ("gpu-box/ollama", "http://gpu-box:11434/ollama"),
        (' "gpu-box" ', "http://gpu-box:11434"),
    ],
)
def test_ollama_host_has_many_forms(host: str, address: str) -> None:
    assert ollama_address(host) == address


def test_an_impossible_ollama_host_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="environment OLLAMA_HOST"):
        load(tmp_path, "", {"OLLAMA_HOST": "gpu-box:port"})


SAMPLES: dict[str, Any] = {
    "headers": {"X-Team": "search"},
    "stream_usage": False,
    "done_marker": False,
    "organization": "o",
    "project": "p",
    "api_version": "2024-10-21",
    "auth": "bearer",
    "version": "2023-06-01",
    "beta": ["context-1m"],
    "max_tokens": 100,
    "passthrough": ["mirostat"],
    "delay_s": 0.5,
    "chunk_delay_s": 1,
    "fail": "timeout",
    "truncate": 3,
    "output": "hello",
    "usage": {"input_tokens": 5},
    "dimensions": 8,
}


def test_the_types_are_those_that_there_are() -> None:
    assert set(TYPES) == set(providers.TYPES)


@pytest.mark.parametrize("kind", TYPES)
def test_what_the_schema_takes_as_options_the_provider_takes_too(kind: str) -> None:
    options = OPTIONS[kind].load({name: SAMPLES[name] for name in OPTIONS[kind].fields})
    assert options == {name: SAMPLES[name] for name in OPTIONS[kind].fields}
    settings = ProviderSettings(
        name="mine", type=kind, base_url="http://127.0.0.1:9/v1", api_key="k", options=options
    )
    assert providers.build(settings).name == "mine"


@pytest.mark.parametrize("kind", TYPES)
def test_what_the_schema_does_not_take_the_provider_does_not_take_either(kind: str) -> None:
    for name in SAMPLES.keys() - OPTIONS[kind].fields.keys():
        settings = ProviderSettings(
            name="mine",
            type=kind,
            base_url="http://127.0.0.1:9/v1",
            api_key="k",
            options={name: SAMPLES[name]},
        )
        with pytest.raises(ConfigError):
            providers.build(settings)


def test_options_come_as_the_provider_wants_them(tmp_path: Path) -> None:
    text = '[providers.echo.options]\ndelay_s = 1\nfail = "TIMEOUT"\nusage = { input_tokens = 3 }'
    options = load(tmp_path, text, {}).providers["echo"].options
    assert options == {"delay_s": 1.0, "fail": "timeout", "usage": {"input_tokens": 3}}
    environ = {"MAESTER_PROVIDERS__ECHO__OPTIONS__USAGE": "false"}
    assert load(tmp_path, "", environ).providers["echo"].options == {"usage": False}


def test_the_key_of_a_provider_is_not_in_its_repr() -> None:
    assert "k1-secret" not in repr(ProviderSettings("openai", "openai", api_key="k1-secret"))
