"""The WSGI entry point: ``gunicorn wsgi:app``."""

import atexit
import sys

from maester.errors import MaesterError
from maester.logs import configure
from maester.runtime import Runtime
from maester.web import create_app, refusals

try:
    runtime = Runtime.build()
except MaesterError as error:
    sys.stderr.write(f"maester: {error.message}\n")
    # 4 is the status at which gunicorn's master gives up instead of starting worker after worker.
    raise SystemExit(4) from error

atexit.register(runtime.close)
refusals.install()
configure(runtime.settings)
app = create_app(runtime)
