"""The journal's disk is full, or cannot be written any more and is replaced."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from faults.scene import Outcome, Scene, case, mount, unmount


@case("the journal's disk is full", disk="full")
def full(scene: Scene) -> Outcome:
    filler = scene.journal / "filler"
    with scene.load() as load:
        time.sleep(0.5)
        with suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)
        time.sleep(scene.seconds)
        filler.unlink()
        mended = time.monotonic()
        time.sleep(1)
    return Outcome(load.tally, mended, must_refuse=True)


@case("the journal's disk fails and is read-only, then another is mounted", disk="ext4")
def read_only(scene: Scene) -> Outcome:
    device = os.stat(scene.journal).st_dev
    block = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
    with scene.load() as load:
        time.sleep(0.5)
        Path("/sys/fs/ext4", block, "trigger_fs_error").write_text("1")
        time.sleep(scene.seconds)
        unmount(scene.journal)
        mount("-t", "tmpfs", "-o", "size=64m", "tmpfs", str(scene.journal))
        mended = time.monotonic()
        time.sleep(2)
    return Outcome(load.tally, mended, must_refuse=True)
