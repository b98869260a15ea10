"""Whether the process lives, whether it should get requests, and which version it is."""

from __future__ import annotations

import platform
from importlib import metadata
from typing import Any

from flask import Blueprint

from maester.errors import LedgerError

from .answer import Answer
from .answers import json_response
from .service import Service

Json = dict[str, Any]


def blueprint(service: Service) -> Blueprint:
    """The views over a service; none of them needs a key."""
    views = Blueprint("health", __name__)
    version = {"name": "maester", "version": metadata.version("maester"), "python": platform.python_version()}

    @views.get("/healthz")
    def healthz() -> Answer:
        return _fresh({"status": "ok"})

    @views.get("/readyz")
    def readyz() -> Answer:
        checks = _checks(service)
        ready = all(check["ok"] for check in checks.values())
        return _fresh({"status": "ready" if ready else "not ready", "checks": checks}, 200 if ready else 503)

    @views.get("/version")
    def version_view() -> Answer:
        return json_response(version)

    return views


def _checks(service: Service) -> dict[str, Json]:
    runtime = service.runtime
    providers = sorted(runtime.registry.providers)
    checks: dict[str, Json] = {
        "accepting": {"ok": not service.draining},
        "providers": {"ok": bool(providers), "names": providers},
    }
    if service.draining:
        checks["accepting"]["detail"] = "The process was told to end and finishes what is under way."
    if not providers:
        checks["providers"]["detail"] = "No provider is on; `maester config show` says what is configured."
    try:
        current = runtime.ledger.schema_current()
    except LedgerError as exc:
        checks["ledger"] = {"ok": False, "detail": exc.message}
        return checks
    checks["ledger"] = {"ok": True}
    checks["migrations"] = {"ok": current}
    if not current:
        checks["migrations"]["detail"] = "The ledger has another schema; `maester db upgrade` updates it."
    return checks


def _fresh(body: Json, status: int = 200) -> Answer:
    return json_response(body, [("cache-control", "no-store")], status)
