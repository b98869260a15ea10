"""What the views share: the runtime, the limits, who may come in, and whether the doors are closing."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flask import Flask, current_app

from maester.model import Caller
from maester.runtime import Runtime

from .auth import Gate
from .body import BodyLimits
from .idempotency import Idempotency

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

    from maester.jobs.service import Jobs

PING_S = 10.0
"""Longest silence, in seconds, on a stream before a comment is sent that keeps the connection alive: well
below what proxies and load balancers wait for, 30 to 60 seconds."""

PATIENCE_S = 1.0
"""How long, in seconds, an inference that may just have ended is waited for in the ledger."""


@dataclass(slots=True)
class Service:
    """The parts of one process that answer over HTTP.

    :param ping_s: see `PING_S`.
    :param patience_s: see `PATIENCE_S`.
    :ivar draining: set when the process was told to end: what is under way is finished, nothing new
        should be sent here.
    """

    runtime: Runtime
    gate: Gate
    limits: BodyLimits
    idempotency: Idempotency
    ping_s: float = PING_S
    patience_s: float = PATIENCE_S
    started_at: float = field(default_factory=time.time)
    draining: bool = False
    _jobs: Jobs | None = None

    @classmethod
    def of(cls, runtime: Runtime, *, ping_s: float = PING_S, patience_s: float = PATIENCE_S) -> Service:
        """A service over a runtime, limited as its settings say."""
        limits = BodyLimits.of(runtime.settings.server)
        idempotency = Idempotency(runtime.settings.idempotency, runtime.answers)
        return cls(runtime, Gate(runtime.keys), limits, idempotency, ping_s, patience_s)

    def admit(self, environ: WSGIEnvironment) -> Caller | None:
        """Whom a request comes from, see `Gate.admit`."""
        return self.gate.admit(environ)

    @property
    def jobs(self) -> Jobs:
        """Background jobs. Who never asks for them does not pay for importing RQ and Redis's client."""
        if self._jobs is None:
            from maester.jobs.service import Jobs

            self._jobs = Jobs(self.runtime.settings, self.runtime.database)
        return self._jobs

    def drain(self) -> None:
        """Say from now on that this process is not ready."""
        self.draining = True


EXTENSION = "maester"


def service_of(app: Flask | None = None) -> Service:
    """The service behind an application, the current one unless given."""
    extensions: Mapping[str, Any] = (app or current_app).extensions
    service = extensions[EXTENSION]
    if not isinstance(service, Service):
        raise TypeError("the application was not made by create_app")
    return service
