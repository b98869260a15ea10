"""Comments in silences: never inside a piece, never after the end, and none while something is said."""

from __future__ import annotations

import threading
import time

import pytest

from maester.web.pings import PING, Voice, kept_up

SILENCE_S = 0.05


def test_a_silence_is_filled_again_and_again() -> None:
    written: list[bytes] = []
    voice = Voice(written.append)
    began = time.monotonic()
    with kept_up(voice, SILENCE_S):
        voice.say(b"one")
        while len(written) < 3 and time.monotonic() < began + 10:
            time.sleep(SILENCE_S / 5)
        voice.say(b"two")
    most = (time.monotonic() - began) / SILENCE_S
    assert written[0] == b"one"
    assert written[-1] == b"two"
    assert set(written[1:-1]) == {PING}
    assert 2 <= len(written[1:-1]) <= most


def test_nothing_is_written_after_the_end() -> None:
    written: list[bytes] = []
    with kept_up(Voice(written.append), SILENCE_S):
        pass
    time.sleep(SILENCE_S * 3)
    assert written == []


def test_who_speaks_is_not_interrupted() -> None:
    written: list[bytes] = []
    voice = Voice(written.append)
    with kept_up(voice, SILENCE_S):
        for _ in range(40):
            voice.say(b"piece")
            time.sleep(SILENCE_S / 10)
    assert PING not in written


def test_a_piece_waits_for_a_comment_that_is_being_written() -> None:
    """A client that takes nothing may hold a comment back in the middle of it."""
    taken = threading.Event()
    begun = threading.Event()
    written: list[bytes] = []

    def write(data: bytes) -> None:
        if data == PING:
            begun.set()
            assert taken.wait(10)
        written.append(data)

    voice = Voice(write)
    with kept_up(voice, SILENCE_S):
        assert begun.wait(10)
        speaking = threading.Thread(target=voice.say, args=(b"piece",))
        speaking.start()
        time.sleep(0.05)
        assert written == []
        taken.set()
        speaking.join(10)
    assert written[-1] == b"piece"
    assert set(written[:-1]) == {PING}


def test_a_client_that_has_gone_gets_no_more_comments() -> None:
    tries: list[bytes] = []

    def write(data: bytes) -> None:
        tries.append(data)
        raise BrokenPipeError

    with kept_up(Voice(write), SILENCE_S):
        time.sleep(SILENCE_S * 10)
    assert tries == [PING]


def test_a_failure_does_not_wait_for_a_comment() -> None:
    """Its connection is closed next, which is what ends the comment."""
    begun, over = threading.Event(), threading.Event()

    def write(data: bytes) -> None:
        begun.set()
        over.wait(10)

    def fail() -> None:
        with kept_up(Voice(write), SILENCE_S):
            assert begun.wait(10)
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        fail()
    assert not over.is_set()
    over.set()
