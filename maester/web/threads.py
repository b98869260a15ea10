"""gunicorn's worker with threads, which closes nothing that somebody has sent something to."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from .ending import accept_waiting


class Worker(ThreadWorker):  # type: ignore[misc]
    """Ends as gunicorn's own does, and fails no request by it; see `maester.web.ending`."""

    alive: bool
    sockets: list[Any]

    def set_accept_enabled(self, enabled: bool) -> None:
        """Begin to accept, or stop; at the end for good.

        gunicorn's own keeps listening without accepting until it is gone, and whoever connects meanwhile
        waits for nothing.
        """
        super().set_accept_enabled(enabled)
        if enabled or self.alive:
            return
        listeners, self.sockets = self.sockets, []
        for listener in listeners:
            accept_waiting(listener, partial(self.accept, listener))
            listener.close()

    def murder_keepalived(self, force: bool = False) -> None:
        """Close connections that were idle for too long, after what has come on them was taken."""
        idle = self.keepalived_conns
        if idle and (force or idle[0].timeout <= time.monotonic()):
            self.wait_for_and_dispatch_events(0)
        super().murder_keepalived(force)
