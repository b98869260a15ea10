"""The state of a run: a file beside its output, to which every event is appended as it happens.

JSON Lines. The first line says what is run (see `maester.enrichment.plan`), each other line one event:

    {"event": "started", "row": 7, "reserved_usd": "0.0004"}     before a provider is asked
    {"event": "tried", "row": 7, "cost_usd": "0", …}             it failed, and is to be tried again
    {"event": "ended", "row": 7, "status": "ok", "value": …, "cost_usd": "0.0001", …}

A row that started and of which nothing more is known was in flight when the process was killed. What
it cost is not known here: it counts with what had been reserved for it. The last event ``ended`` of a
row is its result. Only where the results stand is kept in memory, 9 bytes a row.
"""

from __future__ import annotations

import fcntl
import os
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson

from maester.errors import InvalidRequest, Unavailable
from maester.pricing.cards import EXACT
from maester.record import decimal_text

PENDING, OK, FAILED = 0, 1, 2
"""What has become of a row."""

SUFFIX = ".state"

_STATUSES = {"ok": OK, "failed": FAILED}
_VERDICTS = {None: 0, True: 1, False: 2}
_NOT_YET = -1
_READ = 16_384
_BEGINNING = b'{"event":"run"'

Json = dict[str, Any]


class State:
    """The state file of an output, held alone by this process until it is closed.

    :ivar header: its first line.
    :ivar resumed: whether there was something in it.
    :ivar spent_usd: what is known to have been spent, by all runs.
    :ivar uncertain_usd: what inferences of unknown cost may have cost at most.
    :ivar unknown: how many inferences of unknown cost there are.
    :ivar unbounded: how many of them there is not even a bound for.
    :ivar lost: how many inferences were in flight when the last run was killed.
    :ivar largest_output: most tokens of an answer.
    """

    def __init__(self, path: Path, header: Mapping[str, Any], *, restart: bool = False) -> None:
        """Open the state, or begin it.

        :param path: the file.
        :param header: what is about to be run, for a state that is new.
        :param restart: whether what is there is thrown away.
        :raises Unavailable: when another process holds it.
        :raises InvalidRequest: when the file is something else, or damaged.
        :raises OSError: when it cannot be written.
        """
        self.path = path
        self.spent_usd = Decimal(0)
        self.uncertain_usd = Decimal(0)
        self.unknown = self.unbounded = self.lost = 0
        self.largest_output = self.input_tokens = self.output_tokens = 0
        self._statuses = bytearray()
        self._verdicts = bytearray()
        self._places = array("q")
        self._in_flight: dict[int, str | None] = {}
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        try:
            self._lock()
            if restart:
                os.ftruncate(self._file, 0)
            beginning = os.pread(self._file, len(_BEGINNING), 0)
            if not _BEGINNING.startswith(beginning):
                raise self._damaged(0)
            self._end = os.fstat(self._file).st_size
            self.header: Mapping[str, Any] = self._load() or header
            self.resumed = self._end > 0
            if not self.resumed:
                self._append(dict(header))
        except BaseException:
            self.close()
            raise

    def started(self, row: int, reserved_usd: Decimal | None) -> None:
        """A provider is about to be asked.

        :param reserved_usd: what it may cost at most; ``None`` where no price is known.
        """
        self._write({"event": "started", "row": row, "reserved_usd": decimal_text(reserved_usd)})

    def tried(self, row: int, result: Json) -> None:
        """An inference failed, and the row is to be tried again.

        :param result: ``cost_usd`` and ``reserved_usd`` of the inference, and what else is known.
        """
        self._write({"event": "tried", "row": row, **result})

    def ended(self, row: int, result: Json) -> None:
        """A row has its result.

        :param result: ``status`` (``ok`` or ``failed``), ``cost_usd`` and ``reserved_usd`` of the last
            inference, and what else is known.
        """
        self._write({"event": "ended", "row": row, **result})

    def status(self, row: int) -> int:
        """`PENDING`, `OK` or `FAILED`."""
        return self._statuses[row] if row < len(self._statuses) else PENDING

    def result(self, row: int) -> Json | None:
        """The last result of a row, if it has one."""
        place = self._places[row] if row < len(self._places) else _NOT_YET
        if place == _NOT_YET:
            return None
        line = b""
        while b"\n" not in line:
            line += os.pread(self._file, _READ, place + len(line))
        result: Json = orjson.loads(line.partition(b"\n")[0])
        return result

    def count(self, status: int, rows: int) -> int:
        """How many of the first `rows` rows have a status."""
        known = self._statuses.count(status, 1, rows + 1)
        return known + max(0, rows + 1 - max(1, len(self._statuses))) if status == PENDING else known

    def judged(self, passed: bool, rows: int) -> int:
        """How many of the first `rows` rows have passed their evaluation, or have not."""
        return self._verdicts.count(_VERDICTS[passed], 1, rows + 1)

    def failed(self, rows: int) -> Iterator[int]:
        """Numbers of those of the first `rows` rows that have failed."""
        place = self._statuses.find(FAILED, 1, rows + 1)
        while place != -1:
            yield place
            place = self._statuses.find(FAILED, place + 1, rows + 1)

    def close(self) -> None:
        """Let go of the file; what is reported afterwards is not kept."""
        if self._file != -1:
            file, self._file = self._file, -1
            os.close(file)

    @property
    def closed(self) -> bool:
        """Whether it has been let go of."""
        return self._file == -1

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise Unavailable(
                f"Another run is writing {self.path.name.removesuffix(SUFFIX)} at this moment (it holds"
                f" {self.path}). Wait for its end, or give this run another --output."
            ) from exc

    def _load(self) -> Json | None:
        """Read what is there; a last line that was not written to its end is cut off."""
        header: Json | None = None
        place = 0
        with self.path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    event = orjson.loads(line)
                    if header is None:
                        header = event
                    else:
                        self._take(event, place)
                except (ValueError, LookupError, TypeError, ArithmeticError) as exc:
                    raise self._damaged(place) from exc
                place += len(line)
        os.ftruncate(self._file, place)
        self._end = place
        self.lost = len(self._in_flight)
        for reserved in self._in_flight.values():
            self._charge(None, reserved)
        self._in_flight.clear()
        return header

    def _damaged(self, place: int) -> InvalidRequest:
        return InvalidRequest(
            f"{self.path}, byte {place}: this is not the state of a run, or it is damaged. Move it away, or"
            " begin anew with --restart."
        )

    def _write(self, event: Json) -> None:
        if self.closed:
            return
        place = self._end
        self._append(event)
        self._take(event, place)

    def _append(self, event: Json) -> None:
        line = whole = memoryview(orjson.dumps(event) + b"\n")
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as exc:
            with suppress(OSError):  # half a line would spoil what is written behind it
                os.ftruncate(self._file, self._end)
            said = f"{exc.strerror}. What is done is kept, and the same command goes on from there."
            raise OSError(exc.errno, said, str(self.path)) from exc
        self._end += len(whole)

    def _take(self, event: Json, place: int) -> None:
        row, kind = event["row"], event["event"]
        if kind == "started":
            if row in self._in_flight:  # it was in flight when an earlier process was killed
                self._charge(None, self._in_flight[row])
            self._in_flight[row] = event["reserved_usd"]
            return
        self._in_flight.pop(row, None)
        self._charge(event["cost_usd"], event["reserved_usd"])
        self.input_tokens += event.get("input_tokens") or 0
        self.output_tokens += event.get("output_tokens") or 0
        self.largest_output = max(self.largest_output, event.get("output_tokens") or 0)
        if kind == "ended":
            self._settle(row, event, place)

    def _settle(self, row: int, event: Json, place: int) -> None:
        missing = row + 1 - len(self._statuses)
        if missing > 0:
            grown = max(missing, 1024)
            self._statuses.extend(bytes(grown))
            self._verdicts.extend(bytes(grown))
            self._places.extend([_NOT_YET] * grown)
        self._statuses[row] = _STATUSES[event["status"]]
        self._places[row] = place
        self._verdicts[row] = _VERDICTS[(event.get("evaluation") or {}).get("passed")]

    def _charge(self, cost: str | None, reserved: str | None) -> None:
        if cost is not None:
            self.spent_usd = EXACT.add(self.spent_usd, Decimal(cost))
            return
        self.unknown += 1
        if reserved is None:
            self.unbounded += 1
        else:
            self.uncertain_usd = EXACT.add(self.uncertain_usd, Decimal(reserved))
