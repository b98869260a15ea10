"""The same work on many things, in threads that a program may leave behind when it ends."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

PAUSE_S = 0.5


def concurrently(
    work: Callable[[Item], Result], items: Iterable[Item], concurrency: int
) -> Generator[Result | None, None, None]:
    """Results of the work, as they come; ``None`` when none came for half a second.

    Things are taken from `items` by the caller's thread and only as they are needed. Closing the
    iterator ends the threads as soon as what they are at is done, and does not wait for that.

    :param concurrency: threads; with 1 the work is done by the caller's own.
    """
    if concurrency == 1:
        for item in items:
            yield work(item)
        return
    inbox: queue.SimpleQueue[Item | None] = queue.SimpleQueue()
    outbox: queue.SimpleQueue[tuple[Result | None, BaseException | None]] = queue.SimpleQueue()

    def toil() -> None:
        while (item := inbox.get()) is not None:
            try:
                outbox.put((work(item), None))
            except BaseException as exc:  # noqa: BLE001 - raised where the result is waited for
                outbox.put((None, exc))

    for number in range(concurrency):
        threading.Thread(target=toil, name=f"maester-evaluate-{number}", daemon=True).start()
    remaining = iter(items)
    under_way = 0
    try:
        while True:
            while under_way < 2 * concurrency:
                try:
                    inbox.put(next(remaining))
                except StopIteration:
                    break
                under_way += 1
            if not under_way:
                return
            try:
                result, error = outbox.get(timeout=PAUSE_S)
            except queue.Empty:
                yield None
                continue
            under_way -= 1
            if error is not None:
                raise error
            yield result
    finally:
        while not inbox.empty():  # what was not begun stays undone
            try:
                inbox.get_nowait()
            except queue.Empty:
                break
        for _ in range(concurrency):
            inbox.put(None)
