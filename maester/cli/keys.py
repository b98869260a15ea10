"""`maester keys`: who may use the service."""

from __future__ import annotations

import time

import click

from .context import CommandLine, common_options, pass_line
from .output import note, table, write, write_document


@click.group()
def keys() -> None:
    """Create, list and revoke the keys of callers."""


@keys.command()
@click.option("--name", required=True, help="What the key is for; shown in lists and recorded nowhere else.")
@click.option(
    "--models",
    metavar="NAME[,NAME…]",
    multiple=True,
    help="Models or aliases that the key may use; all unless given. May be repeated.",
)
@common_options
@pass_line
def create(line: CommandLine, name: str, models: tuple[str, ...]) -> None:
    """Make a key and print it: this once, for only its hash is kept.

    From the first key on, every request needs one.
    """
    from maester.ledger.keys import KeyStore  # slow to import

    allowed = [model.strip() for given in models for model in given.split(",") if model.strip()]
    with line.database() as database:
        key, secret = KeyStore(database).create(name, allowed)
    if line.json:
        write_document({**key.as_dict(), "key": secret})
        return
    write(secret)
    scope = f"for {', '.join(key.models)}" if key.models else "for all models"
    note(f"Key {key.id} ({key.name}), {scope}. It is not shown again: keep it where secrets are kept.")


@keys.command("list")
@click.option("--all", "everything", is_flag=True, help="Revoked keys too.")
@common_options
@pass_line
def list_keys(line: CommandLine, everything: bool) -> None:
    """List keys: what they are called and may use, never the keys themselves."""
    from maester.ledger.keys import KeyStore  # slow to import

    with line.database() as database:
        found = [key for key in KeyStore(database).list() if everything or key.revoked_at is None]
    if line.json:
        write_document([key.as_dict() for key in found])
        return
    if not found:
        note("There are no keys. `maester keys create --name NAME` makes one.")
        return
    rows = [
        (
            key.id,
            key.name,
            f"{key.prefix}…",
            ", ".join(key.models) or "all",
            _moment(key.created_at),
            _moment(key.last_used_at),
            *((_moment(key.revoked_at),) if everything else ()),
        )
        for key in found
    ]
    columns = ["id", "name", "key", "models", "created", "last used", *(["revoked"] if everything else [])]
    table(columns, rows)


@keys.command()
@click.argument("key")
@common_options
@pass_line
def revoke(line: CommandLine, key: str) -> None:
    """End the validity of a key, given by its id, name or shown beginning.

    Running services refuse it within two seconds.
    """
    from maester.ledger.keys import KeyStore  # slow to import

    with line.database() as database:
        store = KeyStore(database)
        revoked = store.revoke(key)
        left = store.any()
    if line.json:
        write_document(revoked.as_dict())
        return
    note(f"Key {revoked.id} ({revoked.name}) is revoked.")
    if not left:
        note("It was the last one: the service is open to its own machine now.")


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
