"""The part of the configuration that is needed before plugins may be imported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marshmallow import Schema, ValidationError

from ..errors import ConfigError
from ..settings import LogSettings, ServerSettings, Settings
from .document import read_document
from .laying import lay, plain
from .problems import Problems
from .schema import LogSection
from .server_schema import ServerSection


def early(path: Path | str | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """``[server]`` and ``[log]`` alone; everything else has its default.

    For a process that must not import plugins, and with them HTTP clients: the master of a server
    whose workers patch the standard library. A section that is wrong has its defaults here; what is
    wrong with it is for `load` to say.
    """
    environ = os.environ if environ is None else environ
    try:
        values = lay(read_document(path, environ), environ, {}, Problems()).values
    except ConfigError:
        return Settings()
    server = _section(ServerSection(), values.get("server"))
    log = _section(LogSection(), values.get("log"))
    return Settings(server=ServerSettings(**server), log=LogSettings(**log))


def _section(schema: Schema, written: Any) -> dict[str, Any]:
    try:
        loaded: dict[str, Any] = schema.load(plain(written) if isinstance(written, dict) else {})
    except ValidationError:
        return {}
    return loaded
