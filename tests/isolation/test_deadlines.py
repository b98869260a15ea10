"""Deadlines: what hangs, loops for ever or is interrupted costs its caller no more than the time it set."""

from __future__ import annotations

import contextvars
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from maester import deadlines
from maester.errors import PluginError, PluginTimeout, PluginUnavailable

GEVENT = "from gevent import monkey; monkey.patch_all()\n"


def run_apart(source: str, *, patched: bool) -> str:
    """Run a program in a process of its own, with gevent's world or without; what it printed."""
    program = (GEVENT if patched else "") + textwrap.dedent(source)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def until(condition: object, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.01)


both = pytest.mark.parametrize("patched", [False, True], ids=["threads", "gevent"])


def test_what_work_returns_and_raises_reaches_the_caller() -> None:
    assert deadlines.within(5, lambda: 41 + 1, "p") == 42
    with pytest.raises(LookupError, match="gone"):
        deadlines.within(5, lambda: (_ for _ in ()).throw(LookupError("gone")), "p")


def test_it_runs_in_another_thread_and_sees_the_callers_context() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")
    variable.set("mine")
    assert deadlines.within(5, variable.get, "p") == "mine"
    assert deadlines.within(5, threading.get_ident, "p") != threading.get_ident()


def test_an_order_to_end_the_process_from_inside_is_only_a_failure() -> None:
    with pytest.raises(PluginError, match="p raised SystemExit"):
        deadlines.within(5, lambda: sys.exit(3), "p")


def test_an_owner_with_too_many_hanging_calls_is_refused_at_once_until_they_end() -> None:
    stop = threading.Event()
    for _ in range(deadlines.MOST_HANGING):
        with pytest.raises(PluginTimeout, match=r"many did not return within 0\.05 s"):
            deadlines.within(0.05, stop.wait, "many")
    started = time.perf_counter()
    with pytest.raises(PluginUnavailable, match="8 earlier calls"):
        deadlines.within(5, time.time, "many")
    assert time.perf_counter() - started < 0.5
    assert deadlines.within(5, lambda: 1, "another") == 1
    stop.set()
    until(lambda: deadlines.hanging("many") == 0)
    assert deadlines.within(5, lambda: 1, "many") == 1


def test_threads_are_used_again() -> None:
    idents = {deadlines.within(5, threading.get_ident, "p") for _ in range(50)}
    assert len(idents) < 10


def test_a_signal_that_interrupts_the_wait_leaves_the_work_behind() -> None:
    class Alarm(Exception): ...

    def ring(number: int, frame: object) -> None:
        raise Alarm

    stop = threading.Event()
    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    try:
        with pytest.raises(Alarm):
            deadlines.within(10, stop.wait, "interrupted")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert deadlines.hanging("interrupted") == 1
    stop.set()
    until(lambda: deadlines.hanging("interrupted") == 0)


def test_a_forked_child_starts_with_threads_of_its_own() -> None:
    stop = threading.Event()
    with pytest.raises(PluginTimeout):
        deadlines.within(0.01, stop.wait, "forked")
    deadlines.within(5, time.time, "forked")
    child = os.fork()
    if child == 0:
        fine = deadlines.hanging("forked") == 0 and deadlines.within(5, lambda: 7, "forked") == 7
        os._exit(0 if fine else 1)
    assert os.waitpid(child, 0)[1] == 0
    stop.set()


@both
def test_an_endless_loop_is_ended_and_the_owner_called_again(patched: bool) -> None:
    printed = run_apart(
        """
        import time
        from maester import deadlines
        from maester.errors import PluginTimeout
        def spin():
            while True: pass
        for _ in range(deadlines.MOST_HANGING + 2):
            try: deadlines.within(0.1, spin, "p")
            except PluginTimeout: pass
            time.sleep(0.05)
        end = time.monotonic() + 8
        while deadlines.hanging("p") and time.monotonic() < end: time.sleep(0.02)
        print(deadlines.hanging("p"), deadlines.within(5, lambda: "served", "p"))
        """,
        patched=patched,
    )
    assert printed == "0 served"


@both
def test_a_hanging_thread_does_not_keep_the_process_from_ending(patched: bool) -> None:
    started = time.monotonic()
    printed = run_apart(
        """
        import time
        from maester import deadlines, native
        from maester.errors import PluginTimeout
        block = native.original("time", "sleep")
        try: deadlines.within(0.1, lambda: block(60), "p")
        except PluginTimeout as exc: print(exc)
        """,
        patched=patched,
    )
    assert printed == "p did not return within 0.1 s."
    assert time.monotonic() - started < 10


def test_under_gevent_a_call_that_blocks_its_thread_stops_neither_the_loop_nor_the_next_call() -> None:
    printed = run_apart(
        """
        import gevent, time
        from maester import deadlines, native
        from maester.errors import PluginTimeout
        block = native.original("time", "sleep")
        ticks = []
        def tick():
            while True:
                ticks.append(1); gevent.sleep(0.01)
        gevent.spawn(tick)
        blocked = gevent.spawn(lambda: deadlines.within(30, lambda: block(5), "p"))
        gevent.sleep(0.1)
        started = time.monotonic()
        answer = deadlines.within(30, lambda: "served", "p")
        print(answer, time.monotonic() - started < 2, len(ticks) > 20)
        """,
        patched=True,
    )
    assert printed == "served True True"


def test_under_gevent_a_call_that_waits_is_ended_with_its_deadline() -> None:
    printed = run_apart(
        """
        import gevent, time
        from maester import deadlines
        from maester.errors import PluginTimeout
        for _ in range(20):
            try: deadlines.within(0.02, lambda: time.sleep(60), "p")
            except PluginTimeout: pass
            gevent.sleep(0.01)
        print(deadlines.hanging("p"))
        """,
        patched=True,
    )
    assert printed == "0"


def test_under_gevent_calls_of_one_owner_can_share_a_pool_of_connections() -> None:
    """A socket belongs to the thread that opened it: a thread for each call would break kept ones."""
    printed = run_apart(
        """
        import gevent, http.server, requests, time
        from maester import deadlines
        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            def do_GET(self):
                time.sleep(0.01)
                self.send_response(200); self.send_header("content-length", "2"); self.end_headers()
                self.wfile.write(b"ok")
            def log_message(self, *arguments): pass
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        gevent.spawn(server.serve_forever)
        session = requests.Session(); session.trust_env = False
        url = f"http://127.0.0.1:{server.server_address[1]}/"
        ask = lambda: deadlines.within(5, lambda: session.get(url).text, "p")
        jobs = [gevent.spawn(ask) for _ in range(20)]
        gevent.joinall(jobs)
        again = [gevent.spawn(ask) for _ in range(20)]
        gevent.joinall(again)
        print({job.value for job in jobs + again})
        """,
        patched=True,
    )
    assert printed == "{'ok'}"
