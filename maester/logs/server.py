"""Gunicorn's own log in the shape of everything else: ``--logger-class maester.logs.server.ServerLogger``.

Gunicorn loads this before it starts a worker, so it imports nothing that opens connections: modules
such as ``ssl`` must not be imported before gevent has patched them.
"""

from __future__ import annotations

import logging
from typing import Any

from gunicorn.glogging import Logger

from maester.settings import Settings

from .lines import JsonFormatter
from .output import configure, installed


class ServerLogger(Logger):  # type: ignore[misc]
    """Sends gunicorn's error and access log through the handler of `maester.logs.configure`.

    Access lines are written when gunicorn's ``accesslog`` is set, to ``-`` for standard output; every
    request has its ``inference_end`` line without them. A log that gunicorn is told to write to a
    file goes to that file, in the same shape.
    """

    def setup(self, cfg: Any) -> None:
        """Take over what gunicorn has set up."""
        super().setup(cfg)
        if installed() is None:
            configure(Settings())
        for logger in (self.error_log, self.access_log):
            for handler in list(logger.handlers):
                if isinstance(handler, logging.FileHandler):
                    handler.setFormatter(JsonFormatter())
                elif getattr(handler, "_gunicorn", False):
                    logger.removeHandler(handler)
                    logger.propagate = True
