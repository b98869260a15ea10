"""What follows requests and jobs in the background: deferred checks, webhooks, traces, pipelines."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import orjson
import pytest

from maester.errors import InvalidRequest
from maester.evaluation import pending
from maester.jobs import webhooks
from maester.jobs.addresses import check_address
from maester.jobs.janitor import Janitor
from maester.jobs.model import Job, NewItem, new_id
from maester.model import Check, Request
from support import upstream as up
from support.place import Place
from support.worker import Worker, kill, until

SECRET = "whsec_c2VjcmV0LXNlY3JldC1zZWNyZXQ="


class Listener(ThreadingHTTPServer):
    """Takes webhooks; answers the first so many with another status."""

    daemon_threads = True

    def __init__(self, refuse: int, status: int) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.refuse = refuse
        self.status = status
        self.received: list[tuple[dict[str, str], bytes]] = []


class _Handler(BaseHTTPRequestHandler):
    server: Listener

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.received.append(({k.lower(): v for k, v in self.headers.items()}, body))
        refused = len(self.server.received) <= self.server.refuse
        self.send_response(self.server.status if refused else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        return


@contextmanager
def listening(refuse: int = 0, status: int = 503) -> Iterator[Listener]:
    listener = Listener(refuse, status)
    thread = threading.Thread(target=listener.serve_forever, daemon=True)
    thread.start()
    yield listener
    listener.shutdown()
    thread.join()
    listener.server_close()


def deferred(place: Place, count: int) -> list[str]:
    """Live inferences with a check that is put off; their request ids."""
    check = Check("required_terms", {"terms": ["refund"]}, deferred=True)
    made = []
    for number in range(count):
        text = "We will refund it." if number % 2 else "No."
        request = Request("echo", [{"role": "user", "content": text}], checks=(check,))
        inference = place.runtime.execute(request).raise_for_error()
        assert inference.passed is None
        made.append(inference.request_id)
    assert place.runtime.flush()
    return made


def states(place: Place, ids: list[str]) -> list[str]:
    records = [place.runtime.ledger.get(request_id) or {} for request_id in ids]
    return [record["evaluation"]["results"][0]["state"] for record in records]


def test_a_worker_runs_what_was_put_off(place: Place) -> None:
    ids = deferred(place, 6)
    with Worker(place.folder) as worker:
        until(lambda: not pending(place.runtime.database))
        log = worker.log
    assert states(place, ids) == ["failed", "passed"] * 3
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    told = [line for line in lines if line.get("event") == "evaluation_end"]
    assert {line["request_id"] for line in told} == set(ids)


def test_what_was_put_off_is_found_again_when_redis_forgets(place: Place) -> None:
    ids = deferred(place, 4)
    janitor = Janitor(place.runtime, place.jobs)
    assert janitor.turn() == 1
    assert janitor.turn() == 0  # it is in somebody's hands
    place.redis.kill()
    place.redis.restart()
    with Worker(place.folder):
        until(lambda: not pending(place.runtime.database))
    assert states(place, ids) == ["failed", "passed"] * 2


def test_a_webhook_is_signed_and_tried_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.upstream.respond(up.completion("Hello"))
    with listening(refuse=1) as listener:
        address = f"http://127.0.0.1:{listener.server_port}/done"
        job = place.submit(3, webhook_url=address)
        with Worker(place.folder):
            until(lambda: place.job(job.id).webhook_state == "delivered")
        first, second = listener.received
    client = openai.OpenAI(api_key="unused", webhook_secret=SECRET)
    event = client.webhooks.unwrap(second[1].decode(), second[0])
    assert (event.type, event.data.id) == ("job.completed", job.id)  # type: ignore[comparison-overlap,union-attr]
    assert first[0]["webhook-id"] == second[0]["webhook-id"]
    assert first[1] == second[1]
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(second[1].decode() + " ", second[0])


def test_pauses_between_tries_grow_and_end() -> None:
    pauses = [webhooks.next_pause(tries) for tries in range(1, len(webhooks.PAUSES_S) + 2)]
    assert pauses[:-1] == sorted(webhooks.PAUSES_S)
    assert pauses[-1] is None


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://localhost:8000/x",
        "http://[::1]/x",
        "http://169.254.169.254/latest",
        "http://10.0.0.7/x",
        "ftp://host.example/x",
        "http://user:password@8.8.8.8/x",
        "http:///x",
        "http://8.8.8.8:99999/x",
        "http://224.0.0.1/x",
        "http://[fec0::1]/x",
        "http://[2002:7f00:1::]/x",
        "http://[64:ff9b::a00:7]/x",
    ],
)
def test_webhooks_do_not_go_into_private_networks(url: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_address(url, ())
    assert caught.value.param == "webhook.url"
    assert check_address("http://127.0.0.1/x", ("127.0.0.1",)) == ("127.0.0.1",)
    assert check_address("http://8.8.8.8/x", ()) == ("8.8.8.8",)


def ended_job(url: str) -> Job:
    now = time.time()
    return Job(new_id("job"), "generate", "completed", now, now + 60, 1, 1, ended_at=now, webhook_url=url)


def test_a_webhook_goes_to_the_address_that_was_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhooks, "check_address", lambda *_: ("127.0.0.2", "127.0.0.1"))
    with listening() as listener:
        host = f"hooks.invalid:{listener.server_port}"  # which no name server has an address for
        assert webhooks.deliver(ended_job(f"http://{host}/done"), SECRET, ()) is None
    (received,) = listener.received
    assert received[0]["host"] == host
    assert "authorization" not in received[0]


@pytest.mark.parametrize("status", [302, 404])
def test_a_webhook_is_delivered_only_by_success(status: int) -> None:
    with listening(refuse=1, status=status) as listener:
        address = f"http://127.0.0.1:{listener.server_port}/done"
        problem = webhooks.deliver(ended_job(address), SECRET, ("127.0.0.1",))
    assert problem == f"it answered {status}"
    assert len(listener.received) == 1


def test_what_is_told_of_a_failed_webhook_keeps_its_path() -> None:
    with listening() as listener:
        port = listener.server_port
    problem = webhooks.deliver(ended_job(f"http://127.0.0.1:{port}/hidden?t=hidden"), SECRET, ("127.0.0.1",))
    assert problem is not None
    assert "127.0.0.1" in problem
    assert "hidden" not in problem


def test_a_job_judges_what_is_on_record(place: Place) -> None:
    ids = []
    for text in ("We will refund it.", "No."):
        request = Request("echo", [{"role": "user", "content": text}])
        ids.append(place.runtime.execute(request).raise_for_error().request_id)
    assert place.runtime.flush()

    def run() -> Job:
        now = time.time()
        spec = {"checks": [{"name": "required_terms", "terms": ["refund"]}]}
        job = Job(new_id("job"), "evaluate", "validating", now, now + 600, 0, 4, spec=spec)
        made, _ = place.jobs.submit(job, [NewItem(orjson.dumps(request_id).decode()) for request_id in ids])
        return until(lambda: place.ended(made.id))

    with Worker(place.folder):
        first = run()
        rows = [place.runtime.ledger.get(request_id) for request_id in ids]
        second = run()
    assert (first.state, first.progress.done) == ("completed", 2)
    assert (second.state, second.progress.done) == ("completed", 2)
    assert [place.runtime.ledger.get(request_id) for request_id in ids] == rows  # the second did nothing
    results = [(row or {})["evaluation"]["results"][0] for row in rows]
    assert [result["state"] for result in results] == ["passed", "failed"]
    assert {result["job_id"] for result in results} == {first.id}


def test_a_trace_is_found_by_the_job_and_by_the_request_that_made_it(place: Place) -> None:
    place.upstream.respond(up.completion("Hello"))
    trace = "0af7651916cd43dd8448eb211c80319c"
    spec = {"trace": {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}}
    job = place.submit(3, spec=spec, trace_id=trace, request_id="request-of-the-submission")
    with Worker(place.folder, "--burst") as worker:
        worker.wait()
    for name in (job.id, "request-of-the-submission", trace):
        found = place.runtime.ledger.trace(name)
        assert sorted(record["alias"] for record in found) == ["item-0", "item-1", "item-2"]
        assert {record["trace_id"] for record in found} == {trace}
        assert {record["parent_span_id"] for record in found} == {"b7ad6b7169203331"}


def test_a_death_while_checks_run_costs_none_of_them(place: Place) -> None:
    ids = deferred(place, 300)
    with Worker(place.folder) as worker:
        until(lambda: worker.horses() or not pending(place.runtime.database))
        kill(worker.horses())
        until(lambda: not pending(place.runtime.database))
    assert states(place, ids) == ["failed", "passed"] * 150
