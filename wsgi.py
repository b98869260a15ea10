"""The WSGI entry point: ``gunicorn wsgi:app``."""

from maester.web import create_app

app = create_app()
