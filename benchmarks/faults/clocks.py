"""The time of day jumps while requests are under way."""

from __future__ import annotations

import struct
import subprocess
import tempfile
import time
from pathlib import Path

from faults.load import together
from faults.scene import Case, Outcome, Scene, case
from maester.database import Database

JUMPS = {"an hour forward": 3600, "an hour back": -3600, "a day forward": 86_400}
SOURCE = Path(__file__).with_name("clock.c")
FOLDER = Path(tempfile.gettempdir(), "maester-faults")
LIBRARY, MOVED = FOLDER / "clock.so", FOLDER / "moved"
LONGEST_S = 60.0


def _jump(seconds: int) -> Case:
    def run(scene: Scene) -> Outcome:
        with scene.load() as load, scene.load("slow/echo", each=4, stream=True) as streams:
            time.sleep(scene.seconds / 2)
            _move(seconds)
            time.sleep(scene.seconds)
            _move(0)
            mended = time.monotonic()
            time.sleep(scene.seconds / 2)
        return Outcome(together(load.tally, streams.tally), mended, check=lambda: _check(scene.url, seconds))

    return run


def _move(seconds: int) -> None:
    with MOVED.open("r+b", buffering=0) as file:
        file.write(struct.pack("l", seconds))


def _check(url: str, jump_s: int) -> str:
    """No duration is negative or has the jump in it, and the time of day did jump."""
    database = Database(url)
    query = "SELECT min(duration_s), max(duration_s), max(started_at) - min(started_at) FROM inferences"
    shortest, longest, range_s = database.read(lambda connection: connection.exec_driver_sql(query).one())
    database.close()
    if shortest < 0 or longest > LONGEST_S:
        raise AssertionError(f"durations from {shortest} to {longest} s")
    if range_s < abs(jump_s) - LONGEST_S:
        raise AssertionError(f"the clock did not jump: all requests began within {range_s} s")
    return f"durations from {shortest:.4f} to {longest:.2f} s"


def _build() -> dict[str, str]:
    """Make what moves a process's time; the environment that has it loaded."""
    FOLDER.mkdir(exist_ok=True)
    MOVED.write_bytes(struct.pack("l", 0))
    if not LIBRARY.exists() or LIBRARY.stat().st_mtime < SOURCE.stat().st_mtime:
        command = ["cc", "-O2", "-Wall", "-shared", "-fPIC", "-o", str(LIBRARY), str(SOURCE), "-ldl"]
        subprocess.run(command, check=True)
    return {"LD_PRELOAD": str(LIBRARY), "FAULTS_CLOCK": str(MOVED)}


_ENVIRON = _build()
for _name, _seconds in JUMPS.items():
    case(f"the clock jumps {_name}, and returns", environ=_ENVIRON)(_jump(_seconds))
