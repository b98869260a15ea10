"""Plugins as they are installed: real distributions on the path, some of them broken."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maester import Request, Runtime
from maester.errors import PluginLoadError
from maester.plugins import PluginLoader, PluginReport, Registry
from maester.settings import PluginSettings, Settings
from support.plugins import lay_plugin

Install = Callable[[str, str], None]

WORKING = """
    import maester

    class Shout:
        name = "shout"
        def generate(self, call):
            return maester.Response.of(call.messages[-1]["content"].upper())

    @maester.hookimpl
    def maester_register_providers(register, settings):
        register(Shout())
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Lays a distribution of one module on the path, with an entry point as pip would write it."""
    installed: list[str] = []
    monkeypatch.syspath_prepend(tmp_path)

    def write(name: str, source: str) -> None:
        installed.append(lay_plugin(tmp_path, name, source))

    yield write
    for module in installed:
        sys.modules.pop(module, None)


def load(settings: Settings | None = None) -> tuple[Registry, dict[str, PluginReport]]:
    settings = settings or Settings()
    loader = PluginLoader()
    loader.discover(settings.plugins.disabled)
    loader.sections()
    registry = loader.register(settings)
    return registry, {report.name: report for report in registry.plugins}


def test_an_installed_plugin_is_found_and_reported(install: Install) -> None:
    install("shout", WORKING)
    registry, reports = load()
    assert set(registry.providers) == {"shout"}
    report = reports["shout"]
    assert (report.status, report.distribution, report.version) == ("loaded", "maester-shout", "1.2")
    assert report.provides == {"provider": ("shout",)}


@pytest.mark.parametrize(
    ("source", "error"),
    [
        ("import nothing_of_this_name", "ModuleNotFoundError"),
        ("raise RuntimeError('at import')", "RuntimeError: at import"),
        (
            """
            from maester import hookimpl
            @hookimpl
            def maester_register_provider(register): ...
            """,
            "maester_register_provider",
        ),
        (
            """
            from maester import hookimpl
            @hookimpl
            def maester_register_providers(register, settings):
                register(object())
            """,
            "needs a non-empty `name`",
        ),
        (
            """
            from maester import hookimpl
            class Mute:
                name = "mute"
            @hookimpl
            def maester_register_evaluators(register, settings):
                register(Mute())
            """,
            "needs a method `evaluate`",
        ),
        (
            """
            from maester import hookimpl
            @hookimpl
            def maester_register_sinks(register, settings):
                raise LookupError("at registration")
            """,
            "LookupError: at registration",
        ),
        (WORKING, "PluginConflictError: a provider called 'shout' is already registered"),
    ],
    ids=[
        "missing import",
        "raises at import",
        "misspelt hook",
        "no name",
        "no method",
        "raises",
        "name taken",
    ],
)
def test_a_broken_plugin_is_reported_and_stops_no_other(install: Install, source: str, error: str) -> None:
    install("a_good", WORKING)
    install("broken", source)
    registry, reports = load()
    assert set(registry.providers) == {"shout"}
    assert reports["a_good"].status == "loaded"
    assert reports["broken"].status == "failed"
    assert error in (reports["broken"].error or "")
    assert reports["broken"].provides == {}


def test_what_a_plugin_registered_before_it_failed_is_taken_back(install: Install) -> None:
    install(
        "half",
        WORKING
        + """
    @maester.hookimpl
    def maester_register_sinks(register, settings):
        raise ValueError("too late")
    """,
    )
    registry, reports = load()
    assert dict(registry.providers) == {}
    assert reports["half"].status == "failed"


def test_a_broken_plugin_that_the_configuration_requires_stops_the_start(install: Install) -> None:
    install("broken", "raise RuntimeError('at import')")
    with pytest.raises(PluginLoadError, match=r"'broken'.*RuntimeError: at import"):
        load(Settings(plugins=PluginSettings(required=("broken",))))


def test_a_broken_plugin_whose_section_is_configured_stops_the_start(install: Install) -> None:
    install("broken", "raise RuntimeError('at import')")
    with pytest.raises(PluginLoadError, match="'broken'"):
        load(Settings(sections={"broken": {"key": "value"}}))


def test_a_broken_plugin_whose_section_only_has_its_defaults_stops_nothing(install: Install) -> None:
    install("broken", "raise RuntimeError('at import')")
    settings = Settings(sections={"broken": {"key": "value"}}, named_sections=frozenset())
    _, reports = load(settings)
    assert reports["broken"].status == "failed"


def test_a_required_plugin_that_is_not_installed_stops_the_start() -> None:
    with pytest.raises(PluginLoadError, match="'absent' is required"):
        load(Settings(plugins=PluginSettings(required=("absent",))))


def test_a_disabled_plugin_is_not_even_imported(install: Install) -> None:
    install("broken", "raise RuntimeError('at import')")
    _, reports = load(Settings(plugins=PluginSettings(disabled=("broken",))))
    assert reports["broken"].status == "disabled"
    assert "broken_plugin_under_test" not in sys.modules


def test_a_plugin_gets_its_own_section_and_no_other(install: Install) -> None:
    install(
        "picky",
        """
        import maester, marshmallow
        class PickySchema(marshmallow.Schema):
            level = marshmallow.fields.Integer()
        seen = []
        @maester.hookimpl
        def maester_add_settings(register):
            register("picky", PickySchema)
        @maester.hookimpl
        def maester_register_sinks(register, settings):
            seen.append(settings)
        """,
    )
    load(Settings(sections={"picky": {"level": 3}, "other": {"secret": 1}}))
    assert sys.modules["picky_plugin_under_test"].seen == [{"level": 3}]


def test_commands_of_plugins_are_collected(install: Install) -> None:
    install(
        "commanding",
        """
        import click, maester
        @click.command("salute")
        def salute(): ...
        @maester.hookimpl
        def maester_register_commands(register):
            register(salute)
        """,
    )
    loader = PluginLoader()
    loader.discover()
    assert "salute" in [command.name for command in loader.commands()]  # beside those of installed plugins


def test_a_provider_is_charged_at_the_prices_it_borrows(install: Install, tmp_path: Path) -> None:
    source = WORKING.replace('name = "shout"', 'name = "shout"; price_as = "openai"')
    install("shout", source)
    with Runtime.build(settings=Settings(data_dir=tmp_path / "data")) as runtime:
        request = Request(model="shout/gpt-4o-mini", messages=[{"role": "user", "content": "hello"}])
        inference = runtime.execute(request).raise_for_error()
    assert inference.attempts[0].provider_type == "openai"
    assert inference.cost is not None
    assert inference.cost.priced
