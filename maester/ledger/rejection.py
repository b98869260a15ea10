"""What is done with an inference that the database does not take: nothing is lost for its form."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path

from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, InterfaceError, ProgrammingError

from .codec import decode
from .store import Row, Store

log = logging.getLogger(__name__)

REJECTED = "rejected.jsonl"
"""The file in the journal's folder with what the database does not take."""

OnReject = Callable[[Row, BaseException], None]


def write_each(store: Store, rows: list[Row], on_reject: OnReject) -> None:
    """Write rows together, or one by one where the database does not take one of them.

    :param on_reject: told of each that it will never take.
    :raises sqlalchemy.exc.DBAPIError: when the database cannot be written at all.
    """
    try:
        store.write(rows)
        return
    except Exception as exc:
        if not may_be_form(exc):
            raise
    for row in rows:
        try:
            store.write([row], fit=True)
        except Exception as exc:
            if not is_rejection(exc):
                raise
            on_reject(row, exc)


def keep(folder: Path, row: Row, exc: BaseException) -> None:
    """Put an inference that the database will never take into a file beside the journal, and say so."""
    content = row.content if row.content is not None else b"null"
    path = folder / REJECTED
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        file.write(b'{"record":' + row.document + b',"content":' + content + b"}\n")
    log.error(
        "The ledger does not take inference %s, which is kept in %s: %s",
        (row.record or decode(row.document)).get("request_id"),
        path,
        reason(exc),
    )


def reason(exc: BaseException) -> str:
    """What went wrong, without the statement and the values that the database was given."""
    cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    return f"{type(cause).__name__}: {cause}".strip()


def is_rejection(exc: BaseException) -> bool:
    """Whether the values themselves were refused, so that trying again is of no use."""
    if isinstance(exc, DBAPIError):
        return isinstance(exc, (DataError, IntegrityError)) and not exc.connection_invalidated
    return isinstance(exc, (ValueError, TypeError, KeyError, AttributeError, OverflowError))


def may_be_form(exc: BaseException) -> bool:
    """Whether values of an odd type or size may be behind it, which fitting puts right."""
    if isinstance(exc, (InterfaceError, ProgrammingError)):
        return not exc.connection_invalidated
    return is_rejection(exc)
