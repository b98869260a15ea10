"""What all tables have in common: where they are registered, and how indexes are named."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Index, MetaData

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def partial_index(name: str, *columns: Column[Any], only: Any, unique: bool = False) -> None:
    """An index on the rows for which something holds."""
    Index(name, *columns, unique=unique, sqlite_where=only, postgresql_where=only)
