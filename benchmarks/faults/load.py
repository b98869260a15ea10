"""Callers that ask without pause, and the account of what became of each request."""

from __future__ import annotations

import http.client
import itertools
import json
import select
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

HUNG_S = 20.0
"""Seconds without an end after which a request hung."""

OWING = ("provider_", "bad_provider_response")
"""Errors of requests that went to a provider: they owe a record as much as answers do."""

_numbers = itertools.count()


@dataclass
class Tally:
    """What became of requests.

    :ivar owing: ids of those that owe a record. :ivar cut: the callers' own ids of those cut off.
    :ivar answered_at: when each correct answer was there (``time.monotonic()``).
    """

    results: Counter[str] = field(default_factory=Counter)
    owing: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    codes: Counter[str] = field(default_factory=Counter)
    answered_at: list[float] = field(default_factory=list)
    slowest_s: float = 0.0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, result: str, request_id: str | None = None, code: str | None = None) -> None:
        """Count one request: answered, refused, cut off, hung or wrong."""
        with self.lock:
            self.results[result] += 1
            if code is not None:
                self.codes[code] += 1
            if request_id is not None and (result == "answered" or str(code).startswith(OWING)):
                self.owing.append(request_id)
            if result == "answered":
                self.answered_at.append(time.monotonic())

    def longest_gap_s(self) -> float:
        """The longest time without a correct answer."""
        moments = sorted(self.answered_at)
        return max((after - before for before, after in itertools.pairwise(moments)), default=0.0)


def together(*tallies: Tally) -> Tally:
    """Several accounts as one."""
    whole = Tally()
    for tally in tallies:
        whole.results += tally.results
        whole.codes += tally.codes
        whole.owing += tally.owing
        whole.cut += tally.cut
        whole.answered_at += tally.answered_at
        whole.slowest_s = max(whole.slowest_s, tally.slowest_s)
    return whole


class Load:
    """Callers that ask one question after the other until they are told to end.

    Each keeps its connection, and as HTTP clients do opens another when the server has closed it.
    """

    def __init__(self, port: int, models: list[str], *, stream: bool = False) -> None:
        self.tally = Tally()
        self._port = port
        self._stream = stream
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(model,), daemon=True) for model in models]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        for thread in self._threads:
            thread.join(HUNG_S + 5)

    def end(self) -> None:
        """What is under way is the last."""
        self._ending.set()

    def _run(self, model: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=HUNG_S)
        body = {"model": model, "messages": [{"role": "user", "content": "one two three " * 5}]}
        payload = json.dumps({**body, "stream": self._stream})
        while not self._ending.is_set():
            self._ask(connection, payload)
            time.sleep(0.005)
        connection.close()

    def _ask(self, connection: http.client.HTTPConnection, payload: str) -> None:
        alias = f"fault-{next(_numbers)}"
        began = time.monotonic()
        if connection.sock is not None and select.select([connection.sock], [], [], 0)[0]:
            connection.close()  # closed by the server between two requests
        try:
            headers = {"Content-Type": "application/json", "X-Request-Id": alias}
            connection.request("POST", "/v1/chat/completions", payload, headers)
            response = connection.getresponse()
            request_id = response.headers.get("x-request-id")
            whole = response.read()
        except TimeoutError:
            self.tally.add("hung")
            connection.close()
            return
        except (OSError, http.client.HTTPException) as exc:
            self._cut_off(alias, type(exc).__name__)
            connection.close()
            time.sleep(0.05)
            return
        if response.status == 200:
            if not (whole.endswith(b"data: [DONE]\n\n") if self._stream else b'"choices"' in whole):
                self._cut_off(alias, "no end")
                return
            self.tally.add("answered", request_id)
            self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - began)
            return
        try:
            code = json.loads(whole)["error"]["code"]
        except (ValueError, KeyError, TypeError):
            self.tally.add("wrong", code=f"{response.status} {whole[:40]!r}")
            return
        self.tally.add("refused", request_id, code)
        time.sleep(0.02)

    def _cut_off(self, alias: str, how: str) -> None:
        self.tally.add("cut off", code=how)
        self.tally.cut.append(alias)
