"""Making the partitions of the days to come, long before anything is to be written into them."""

from __future__ import annotations

import logging
import time

from sqlalchemy.exc import DBAPIError

from maester.database import partitioning, partitions

from .rejection import reason
from .store import Store

log = logging.getLogger(__name__)

INTERVAL_S = 600.0
_AGAIN_S = 60.0


class Partitioning:
    """Sees to it that there are partitions for today and the next days; every process does.

    One that cannot be made is no fault: what has none goes into the partition ``default``. The log says so
    once, until it can.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._next = 0.0
        self._failing = False

    def turn(self) -> None:
        """Make what is missing, if it is time to look.

        :raises sqlalchemy.exc.DBAPIError: when the database cannot be asked.
        """
        if self._store.sqlite or time.monotonic() < self._next:
            return
        try:
            made = partitions.create_missing(self._store.transaction, time.time())
            self._store.transaction(partitioning.abandon)
        except DBAPIError as exc:
            if exc.connection_invalidated:
                raise
            self._fail(exc)
            return
        self._next = time.monotonic() + INTERVAL_S
        self._failing = False
        if made:
            log.info("Made the ledger's partitions of %d days.", made)

    def _fail(self, exc: DBAPIError) -> None:
        self._next = time.monotonic() + _AGAIN_S
        if not self._failing and not partitions.busy(exc):
            self._failing = True
            log.warning(
                "The ledger's partitions of the days to come cannot be made, and what is recorded then goes"
                " into the partition `default`: %s. Run `maester db upgrade` each day as the owner of the"
                " tables, or let the service own them.",
                reason(exc),
            )
