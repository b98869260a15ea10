"""Plugins as pip installs them: a module and the metadata of its distribution, in a folder on the path."""

from __future__ import annotations

import textwrap
from pathlib import Path


def lay_plugin(site: Path, name: str, source: str) -> str:
    """Write a distribution ``maester-NAME`` with the entry point NAME; the name of its module."""
    module = f"{name}_plugin_under_test"
    site.mkdir(exist_ok=True)
    (site / f"{module}.py").write_text(textwrap.dedent(source))
    info = site / f"{module}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: maester-{name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(f"[maester]\n{name} = {module}\n")
    return module
