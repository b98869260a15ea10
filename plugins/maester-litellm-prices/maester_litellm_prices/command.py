"""``maester litellm-prices``: what of a price map is read, and what is left out."""

from __future__ import annotations

import json

import click

from .source import LiteLLMPrices


@click.command("litellm-prices")
@click.argument("path", type=click.Path(exists=True, dir_okay=False))
@click.option("--deprecated", is_flag=True, help="Take models whose deprecation date has passed.")
@click.option("--zeros", is_flag=True, help="Take models of which every price is 0.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def litellm_prices(path: str, deprecated: bool, zeros: bool, as_json: bool) -> None:
    """Show what Maester reads of LiteLLM's price map at PATH, and what it leaves out and why.

    Nothing is changed: `maester prices update` takes the prices over.
    """
    reading = LiteLLMPrices(path, deprecated=deprecated, zeros=zeros).read()
    if as_json:
        report = {
            "entries": reading.entries,
            "models": reading.models,
            "prices": len(reading.prices),
            "models_left_out": dict(reading.skipped.most_common()),
            "prices_left_out": dict(reading.unread.most_common()),
        }
        click.echo(json.dumps(report))
        return
    click.echo(f"{reading.entries:>6}  models in the file")
    click.echo(f"{reading.models:>6}  models read, with {len(reading.prices)} prices")
    for reason, count in reading.skipped.most_common():
        click.echo(f"{count:>6}  models left out: {reason}")
    for key, count in reading.unread.most_common():
        click.echo(f"{count:>6}  prices left out: {key}")
