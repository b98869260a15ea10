"""What `maester serve` says it is about to start."""

from __future__ import annotations

import shlex
import socket
from pathlib import Path
from typing import Any

import pytest
from click import unstyle

from maester.cli.announcement import banner, describe, first_model
from maester.plugins import PluginLoader, PluginReport, Registry
from maester.settings import (
    JobSettings,
    LedgerSettings,
    ModelSettings,
    ProviderSettings,
    ServerSettings,
    Settings,
)

ECHO = ProviderSettings("echo", "echo")
OPENAI = ProviderSettings("openai", "openai", api_key="sk-1")
CLAUDE = ProviderSettings("claude", "anthropic", api_key="sk-2")
LOCAL = ProviderSettings("local", "openai", base_url="http://10.0.0.1/v1")
LISTED = ProviderSettings("listed", "openai", base_url="http://10.0.0.2/v1", models=("tiny", "big"))


def registered(*providers: ProviderSettings, **more: Any) -> tuple[Settings, Registry]:
    settings = Settings(providers={each.name: each for each in providers}, **more)
    loader = PluginLoader(("maester.providers",))
    loader.discover()
    return settings, loader.register(settings)


@pytest.mark.parametrize(
    ("providers", "expected"),
    [
        ((ECHO,), "echo/echo"),
        ((ECHO, OPENAI), "openai/gpt-4o-mini"),
        ((CLAUDE, ECHO), "claude/claude-haiku-4-5"),
        ((LOCAL, ECHO), "echo/echo"),
        ((OPENAI, LISTED, ECHO), "listed/tiny"),
        ((), "provider/model"),
    ],
)
def test_the_first_request_names_a_model_that_is_likely_to_answer(
    providers: tuple[ProviderSettings, ...], expected: str
) -> None:
    assert first_model(*registered(*providers)) == expected


def test_an_alias_comes_first() -> None:
    models = {"fast": ModelSettings("fast", "openai", "gpt-4o")}
    assert first_model(*registered(OPENAI, ECHO, models=models)) == "fast"


def test_no_secret_is_said() -> None:
    settings, registry = registered(LOCAL, OPENAI, ledger=LedgerSettings("postgresql://me:hidden@db/x"))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        said = describe(settings, registry, listener, guarded=True)
        port = listener.getsockname()[1]
    text = banner(said)
    assert "local (openai at http://10.0.0.1/v1)" in text
    assert "hidden" not in text
    assert "sk-1" not in text
    assert f"http://127.0.0.1:{port}" in text
    assert "postgresql://me:****@db/x" in text
    assert "needed for every request" in text
    assert said["curl"].endswith('-H "authorization: Bearer $MAESTER_KEY"')


def test_where_background_work_is_queued(tmp_path: Path) -> None:
    def said(**jobs: Any) -> str | None:
        settings, registry = registered(ECHO, data_dir=tmp_path, jobs=JobSettings(**jobs))
        described = describe(settings, registry, None, guarded=False)
        rows = [line.split() for line in unstyle(banner(described)).splitlines()]
        assert any(row[:1] == ["queue"] for row in rows) == (described["queue"] is not None)
        return described["queue"]  # type: ignore[no-any-return]

    assert said() is None
    assert said(redis_url="rediss://me:hidden@h:1/0?ssl_password=hidden") == "rediss://me:****@h:1/0"
    assert said(embedded=True) == "embedded, not started yet: maester worker --embedded"
    (tmp_path / "redis").mkdir()
    (tmp_path / "redis" / "address.json").write_text('{"port": 4711, "password": "hidden"}')
    assert said() == said(embedded=True, redis_url="redis://other")
    assert said() == "redis://:****@127.0.0.1:4711/0 (embedded)"
    assert said(redis_url="redis://other") == "redis://other"


def test_many_models_are_counted_and_failed_plugins_named(tmp_path: Path) -> None:
    many = ProviderSettings(
        "many", "openai", base_url="http://h/v1", models=tuple(f"m{n}" for n in range(20))
    )
    server = ServerSettings(host="unix:/run/a b.sock", workers=2)
    settings, registry = registered(
        many, ECHO, server=server, data_dir=tmp_path, source=tmp_path / "maester.toml"
    )
    failed = PluginReport("bad", "bad-dist", "1", "failed", error="RuntimeError: no")
    registry = Registry(registry.providers, (), {}, (), (), (*registry.plugins, failed))
    said = describe(settings, registry, None, guarded=False)
    text = banner(said)
    assert "and 13 more" in text
    assert "bad: see `maester plugins`" in text
    assert "(2 gevent workers)" in text
    assert str(tmp_path / "maester.toml") in text
    assert shlex.split(said["curl"])[:4] == [
        "curl",
        "--unix-socket",
        "/run/a b.sock",
        "http://localhost/v1/generate",
    ]
