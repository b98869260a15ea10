"""The options by which inferences are chosen: the filters of ``GET /v1/inferences``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from .values import amount

Function = TypeVar("Function", bound=Callable[..., Any])


def moment(_: click.Context, option: click.Parameter, value: str | None) -> float | None:
    """A moment as seconds since the epoch: ``15m`` ago, ISO 8601, or such seconds."""
    from maester.web.filters import moment as read  # not needed for --help

    return None if value is None else read({str(option.name): value}, str(option.name))


def _tags(context: click.Context, option: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    found = {}
    for text in values:
        name, _, value = text.partition("=")
        if not name:
            raise click.BadParameter(f"{text!r} must be name=value, or the name alone.", context, option)
        found[name] = value
    return found


def filter_options(command: Function) -> Function:
    """The filters of ``GET /v1/inferences``."""
    for option in (
        click.option("--model", help="The model asked for, or the one that answered."),
        click.option("--provider", help="The provider's configured name."),
        click.option(
            "--status",
            type=click.Choice(["ok", "error", "cancelled", "interrupted"]),
            help="How it ended.",
        ),
        click.option(
            "-t",
            "--tag",
            "tags",
            multiple=True,
            metavar="NAME[=VALUE]",
            callback=_tags,
            help="A label it carries.  [repeatable]",
        ),
        click.option("--key", help="Id of the caller's key."),
        click.option("--user", help="The end user."),
        click.option("--session", help="The conversation."),
        click.option(
            "--evaluation",
            type=click.Choice(["passed", "failed", "pending", "none"]),
            help="What the required checks came to.",
        ),
        click.option(
            "--min-cost", metavar="USD", callback=amount("0.05", positive=False), help="Least cost."
        ),
    ):
        command = option(command)
    return command


since = click.option(
    "--since",
    metavar="WHEN",
    callback=moment,
    help="From when on: 15m, 2h, 7d (ago), ISO 8601, or seconds since the epoch.",
)
until = click.option("--until", metavar="WHEN", callback=moment, help="Before when, in the same forms.")
