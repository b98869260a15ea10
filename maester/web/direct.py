"""The way past Flask for the addresses at which inferences are made.

Flask's dispatching (two contexts, a map of addresses, a request object) costs as much as recording an
inference in the ledger. Where nothing was added to the application that wants to see every request,
those few addresses are looked up in a table and answered at once; all else goes through Flask.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from flask import Flask

from maester.errors import MaesterError

from . import errors
from .endpoint import Endpoint

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class Direct:
    """A WSGI application around Flask's own.

    Flask's hooks (``before_request``, ``after_request``, ``teardown_request``, URL preprocessors) are
    respected: as soon as there is one, every request takes Flask's way.
    """

    def __init__(self, app: Flask, flask: Callable[..., Iterable[bytes]]) -> None:
        self._flask = flask
        self._hooks: tuple[Mapping[Any, Any], ...] = (
            app.before_request_funcs,
            app.after_request_funcs,
            app.teardown_request_funcs,
            app.url_value_preprocessors,
        )
        self._endpoints = _endpoints(app)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        endpoint = self._endpoints.get(path)
        if endpoint is None or environ["REQUEST_METHOD"] != "POST" or any(self._hooks):
            return self._flask(environ, start_response)
        try:
            answer = endpoint.answer(environ)
        except MaesterError as error:
            answer = errors.refusal(error, path)
        except Exception as error:  # noqa: BLE001 - told to the caller and to the log
            answer = errors.defect(error, path)
        return answer(environ, start_response)


def _endpoints(app: Flask) -> dict[str, Endpoint]:
    """The views that need nothing of Flask, by their addresses."""
    found: dict[str, Endpoint] = {}
    for rule in app.url_map.iter_rules():
        view = app.view_functions[rule.endpoint]
        if isinstance(view, Endpoint):
            found[rule.rule] = view
    return found
