"""The embedded Redis: a real server of Maester's own, so that background work starts with one command."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

FOLDER = "redis"
_ADDRESS_FILE = "address.json"


def address(data_dir: Path) -> str | None:
    """Where the embedded Redis of a data folder listens; ``None`` if none was ever started there."""
    try:
        found = json.loads((data_dir / FOLDER / _ADDRESS_FILE).read_text())
        return f"redis://:{quote(found['password'], safe='')}@127.0.0.1:{int(found['port'])}/0"
    except (OSError, ValueError, KeyError, TypeError):
        return None
