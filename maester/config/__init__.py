"""Configuration: defaults, then ``maester.toml``, then ``MAESTER_*`` variables, checked as one.

A provider whose usual variables are set (``OPENAI_API_KEY``, …) is on without any file. Everything
that is wrong is told at once, each with its key, where the value came from and what would be right.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..model import NOTHING
from ..settings import Settings
from .building import settings_of
from .early import early
from .json_schema import json_schema
from .loading import Resolved, disabled_plugins, resolve
from .registered import check_names
from .showing import as_json, as_toml


def load(
    path: Path | str | None = None,
    environ: Mapping[str, str] | None = None,
    sections: Mapping[str, Any] = NOTHING,
) -> Settings:
    """Read and check the configuration.

    :param path: the file; else the one that ``MAESTER_CONFIG`` names, else ``maester.toml`` in the
        working folder if there is one, else none.
    :param environ: the environment; the process's own unless given.
    :param sections: what plugins declare: a section's name and the marshmallow Schema class it is
        checked with, or ``None`` for one whose plugin failed and which is taken as it is.
    :raises ConfigError: with everything that is wrong, in the message and in ``problems``.
    """
    return settings_of(resolve(path, environ, sections))


__all__ = [
    "Resolved",
    "as_json",
    "as_toml",
    "check_names",
    "disabled_plugins",
    "early",
    "json_schema",
    "load",
    "resolve",
    "settings_of",
]
