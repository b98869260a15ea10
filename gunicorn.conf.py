"""Read by plain ``gunicorn wsgi:app`` in this folder: the same settings as ``maester serve``."""

from maester.web import gunicorn as _served

globals().update({name: value for name, value in vars(_served).items() if not name.startswith("__")})
