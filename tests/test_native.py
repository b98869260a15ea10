"""Work that blocks, done beside gevent's loop."""

from __future__ import annotations

import subprocess
import sys

import pytest

from maester.native import offload

PROGRAM = """
from gevent import monkey

monkey.patch_all()
from maester.native import offload

print(offload(lambda: 5))
try:
    offload(lambda: {}["gone"])
except KeyError as exc:
    print(exc)
"""


def test_without_gevent_it_is_done_where_it_is() -> None:
    assert offload(lambda: 5) == 5
    with pytest.raises(KeyError):
        offload(lambda: {}["gone"])


def test_under_gevent_a_failure_comes_back_and_is_not_printed() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.stdout == "5\n'gone'\n"
    assert done.stderr == ""
