"""`maester db`: the schema of the ledger's database."""

from __future__ import annotations

import click

from .context import CommandLine, common_options, pass_line
from .output import note, write, write_document


@click.group()
def db() -> None:
    """Migrate the ledger's database."""


@db.command()
@common_options
@pass_line
def upgrade(line: CommandLine) -> None:
    """Bring the schema up to date; does nothing where it is.

    SQLite is brought up to date by every start too; PostgreSQL only by this, which also partitions its
    tables by day and makes the partitions of the days to come. Services may run meanwhile.
    """
    from maester.database import Database, migrate  # slow to import

    database = Database(line.settings().ledger_url)
    try:
        reached = migrate.upgrade(database)
    finally:
        database.close()
    if line.json:
        write_document({"url": database.display_url, "version": reached, "head": migrate.HEAD})
    else:
        note(f"{database.display_url} has schema {reached}, which is the newest.")


@db.command()
@common_options
@pass_line
def current(line: CommandLine) -> None:
    """Show which schema the database has, and which this version of Maester needs."""
    from maester.database import Database, migrate  # slow to import

    database = Database(line.settings().ledger_url)
    path = database.path
    try:
        # Looking must not make the file.
        found = migrate.current(database) if path is None or path.exists() else None
    finally:
        database.close()
    if line.json:
        write_document({"url": database.display_url, "version": found, "head": migrate.HEAD})
        return
    write(found or "none")
    if found != migrate.HEAD:
        note(f"This version of Maester needs schema {migrate.HEAD}: run `maester db upgrade`.")
