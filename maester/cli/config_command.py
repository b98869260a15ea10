"""``maester config``: check the configuration, show what is in effect, describe what may be in it."""

from __future__ import annotations

from typing import Any

import click

from maester import config as configuration
from maester.errors import ConfigError
from maester.plugins import PluginLoader

from .context import CommandLine, common_options, pass_line
from .output import write, write_document


@click.group()
@common_options
def config() -> None:
    """Check, show and describe the configuration."""


@config.command()
@common_options
@pass_line
def check(line: CommandLine) -> None:
    """Check the configuration: what `serve` would refuse to start with is told, all at once.

    Covers the file, the environment, and that the plugins, providers, stages and evaluators that they
    name are there. Nothing is called and no database is opened. Exits with 78 when anything is wrong.
    """
    settings, loader = line.load()
    registry = loader.register(settings)
    configuration.check_names(
        settings,
        providers=registry.providers,
        stages=[placed.stage.name for placed in registry.stages],
        evaluators=registry.evaluators,
    )
    source = str(settings.source) if settings.source else None
    if line.json:
        names = {"providers": list(registry.providers), "models": list(settings.models)}
        write_document({"ok": True, "source": source, **names})
        return
    write(f"{source or 'The environment (no file)'}: no problem found")
    write(f"providers: {', '.join(registry.providers)}")
    if settings.models:
        write(f"models:    {', '.join(settings.models)}")


@config.command()
@common_options
@click.option("--origin", is_flag=True, help="Say behind each value where it came from.")
@pass_line
def show(line: CommandLine, origin: bool) -> None:
    """Show the configuration in effect, as TOML; secrets are masked.

    Defaults are filled in. With --origin each value is followed by the line of the file, or the
    environment variable, that it came from.
    """
    sections = _sections(line)
    resolved = configuration.resolve(line.config, None, sections)
    if line.json:
        write_document(configuration.as_json(resolved, sections, origins=origin))
    else:
        write(configuration.as_toml(resolved, sections, origins=origin).rstrip("\n"))


@config.command()
@common_options
@pass_line
def schema(line: CommandLine) -> None:
    """Print the JSON Schema of maester.toml, sections of installed plugins included.

    Save it beside the file and begin the file with `#:schema ./maester.schema.json`: editors that
    know TOML then complete and check as you type.
    """
    write_document(configuration.json_schema(_sections(line)))


def _sections(line: CommandLine) -> dict[str, Any]:
    """What installed plugins declare; Maester's own declare nothing.

    With a file that cannot be read, as if no plugin were disabled.
    """
    loader = PluginLoader()
    try:
        disabled = configuration.disabled_plugins(line.config)
    except ConfigError:
        disabled = ()
    loader.discover(disabled)
    return loader.sections()
