"""The application factory."""

from __future__ import annotations

import atexit
from pathlib import Path
from typing import Any

from flask import Flask
from flask.sessions import NullSession, SessionInterface

from maester.runtime import Runtime
from maester.settings import Settings

from . import (
    batches,
    chat,
    docs,
    embeddings,
    errors,
    files,
    generate,
    health,
    inferences,
    jobs,
    messages,
    metrics,
    models,
    openapi,
    plugins,
)
from .direct import Direct
from .service import EXTENSION, PATIENCE_S, PING_S, Service

_BLUEPRINTS = (
    *(chat, generate, embeddings, messages, models),
    *(jobs, files, batches, inferences, plugins, health, metrics, openapi, docs),
)


class _NoSessions(SessionInterface):
    """There are no sessions: nothing is read from a cookie or written to one."""

    _session = NullSession()

    def open_session(self, app: Any, request: Any) -> NullSession:
        return self._session

    def save_session(self, app: Any, session: Any, response: Any) -> None:
        return None


def create_app(
    runtime: Runtime | None = None,
    *,
    config: str | Path | None = None,
    settings: Settings | None = None,
    ping_s: float = PING_S,
    patience_s: float = PATIENCE_S,
) -> Flask:
    """The WSGI application.

    :param runtime: what answers; built from `config` or `settings` unless given. One that is built
        here is closed when the process ends.
    :param config: path of a ``maester.toml``, see `Runtime.build`.
    :param settings: a configuration made in code.
    :param ping_s: longest silence on a stream, in seconds.
    :param patience_s: how long an inference that may just have ended is waited for in the ledger.
    :raises ConfigError: with every problem found in the configuration.
    """
    if runtime is None:
        runtime = Runtime.build(config, settings=settings)
        atexit.register(runtime.close)
    app = Flask("maester.web", static_folder=None, template_folder=None)
    app.session_interface = _NoSessions()
    app.url_map.strict_slashes = True
    app.url_map.merge_slashes = False
    service = Service.of(runtime, ping_s=ping_s, patience_s=patience_s)
    app.extensions[EXTENSION] = service
    for noun in _BLUEPRINTS:
        app.register_blueprint(noun.blueprint(service))
    errors.install(app)
    app.wsgi_app = Direct(app, app.wsgi_app)  # type: ignore[method-assign]
    return app
