"""The HTTP service.

``create_app`` is looked up on first use: gunicorn's master process reads `maester.web.gunicorn`
before its workers have patched the standard library for gevent, and must not import an HTTP client
(and with it ``ssl`` subclasses) by that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import create_app

__all__ = ["create_app"]


def __getattr__(name: str) -> Any:
    if name == "create_app":
        from .app import create_app

        return create_app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
