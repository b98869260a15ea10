"""``GET /docs``: the API's description as a page that needs nothing from anywhere else."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response

from .service import Service

_FILES = Path(__file__).parent / "static"
_TYPES = {
    "docs.html": "text/html; charset=utf-8",
    "docs.js": "text/javascript; charset=utf-8",
    "docs.css": "text/css; charset=utf-8",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:;"
    " base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = (
    ("content-security-policy", _POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-cache"),
)


def blueprint(service: Service) -> Blueprint:
    """The page and its two files; they need no key."""
    views = Blueprint("docs", __name__)
    contents = {name: (_FILES / name).read_bytes() for name in _TYPES}

    def file(name: str) -> Response:
        return Response(contents[name], 200, list(_HEADERS), content_type=_TYPES[name])

    @views.get("/docs")
    def docs_page() -> Response:
        return file("docs.html")

    @views.get("/docs/docs.js")
    def docs_script() -> Response:
        return file("docs.js")

    @views.get("/docs/docs.css")
    def docs_style() -> Response:
        return file("docs.css")

    return views
