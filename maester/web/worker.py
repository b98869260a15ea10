"""gunicorn's gevent worker, which lets go of idle connections when it is told to end."""

from __future__ import annotations

from types import TracebackType
from typing import Any

import gevent  # type: ignore[import-untyped]
from gunicorn.workers.ggevent import GeventWorker

_SETTLE_S = 0.5
"""Between two looks at which connections are idle, once the worker is ending."""


class Worker(GeventWorker):  # type: ignore[misc]
    """Ends as soon as the last request does.

    gunicorn's own waits for every connection that a client keeps open for a next request, which for
    clients with a pool means the whole graceful timeout.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._idle: dict[_Idle, Any] = {}

    def timeout_ctx(self) -> _Idle:
        """What gunicorn waits in for a next request on a connection."""
        return _Idle(self._idle, self.cfg.keepalive)

    def run(self) -> None:
        """Serve until told to end."""
        watcher = gevent.spawn(self._release)
        try:
            super().run()
        finally:
            watcher.kill(block=False)

    def _release(self) -> None:
        while True:
            gevent.sleep(_SETTLE_S)
            if not self.alive:
                for idle, waiting in tuple(self._idle.items()):
                    idle.end(waiting)


class _Idle:
    """A time limit that can be ended before its time."""

    def __init__(self, idle: dict[_Idle, Any], seconds: float) -> None:
        self._all = idle
        self._timeout = gevent.Timeout(seconds, False)

    def __enter__(self) -> _Idle:
        self._all[self] = gevent.getcurrent()
        self._timeout.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        self._all.pop(self, None)
        ours = error is self._timeout
        self._timeout.close()
        return ours

    def end(self, waiting: Any) -> None:
        """Behave as if the time were over."""
        self._all.pop(self, None)
        gevent.kill(waiting, self._timeout)
