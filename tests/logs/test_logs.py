"""The log: its shape, where it goes, and what never gets into it."""

from __future__ import annotations

import io
import json
import logging
import multiprocessing
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from maester.errors import ProviderTimeout
from maester.logs import LogSink, configure, maester_register_sinks, timestamp
from maester.logs.output import PIPE_BYTES, JsonHandler, release
from maester.model import Cost, Evaluation, Fault, Inference, Request, Response
from maester.record import record_of
from maester.settings import LogSettings, Settings
from maester.tracing import Span, TraceContext, open_span, span

Line = dict[str, Any]
SECRET = "sk-proj-4f9a8b7c6d5e4f3a2b1c0d9e8f7a6b5c"


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """Whatever a test configures is undone."""
    loggers = [logging.getLogger(), logging.getLogger("maester"), logging.getLogger("urllib3")]
    levels = [logger.level for logger in loggers]
    yield
    release()
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


def lines_of(stream: io.StringIO) -> list[Line]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def configured(**log: Any) -> tuple[io.StringIO, Settings]:
    stream = io.StringIO()
    settings = Settings(log=LogSettings(**log), secrets=frozenset({"hunter2-hunter2"}))
    configure(settings, stream)
    return stream, settings


def inference_of(**request: Any) -> Inference:
    inference = Inference(Request("openai/gpt-4o-mini", **request), alias="client-1")
    inference.trace = TraceContext("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331")
    inference.root = Span("chat", None, "request")
    for name, kind in (("gateway", "stage"), ("chat gpt-4o-mini", "attempt"), ("evaluate", "stage")):
        each = Span(name, inference.root.span_id, kind)
        each.duration_s = 0.25
        inference.spans.append(each)
    inference.response = Response.of("The secret recipe of the house.", model="gpt-4o-mini-2024-07-18")
    inference.cost = Cost(Decimal("0.00039"), True)
    inference.evaluations = (Evaluation("non_empty", "non_empty", "passed", score=1.0),)
    inference.duration_s = 0.5
    return inference


class TestTimestamp:
    @pytest.mark.parametrize(
        ("moment", "written"),
        [
            (0.0, "1970-01-01T00:00:00.000Z"),
            (1795478645.0625, "2026-11-24T00:04:05.062Z"),
            (1795478645.9999, "2026-11-24T00:04:05.999Z"),
        ],
    )
    def test_rfc_3339(self, moment: float, written: str) -> None:
        assert timestamp(moment) == written


class TestShape:
    def test_a_line_of_the_application(self) -> None:
        stream, _ = configured()
        logging.getLogger("maester.ledger").info("flushed %d rows", 5, extra={"rows": 5})
        (line,) = lines_of(stream)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("timestamp"))
        assert line == {"level": "info", "logger": "maester.ledger", "message": "flushed 5 rows", "rows": 5}

    def test_inside_a_request_it_says_which(self) -> None:
        stream, _ = configured()
        inference = inference_of()
        with open_span(inference, "outer", "custom"), span("inner") as inner:
            logging.getLogger("embedder").warning("odd")
        (line,) = lines_of(stream)
        assert line["request_id"] == inference.request_id
        assert line["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        assert line["span_id"] == inner.span_id

    def test_an_exception_is_fields_of_the_same_line(self) -> None:
        stream, _ = configured()
        try:
            raise ProviderTimeout("no answer\nin time")
        except ProviderTimeout:
            logging.getLogger("maester").exception("failed")
        (line,) = lines_of(stream)
        assert line["level"] == "error"
        assert line["exception"]["type"] == "ProviderTimeout"
        assert line["exception"]["code"] == "provider_timeout"
        assert line["exception"]["message"] == "no answer\nin time"
        assert "test_logs.py" in line["exception"]["stacktrace"]
        assert "exc_info" not in line

    def test_a_dictionary_is_taken_as_fields(self) -> None:
        stream, _ = configured()
        logging.getLogger("maester").info({"event": "drained", "left": 0})
        (line,) = lines_of(stream)
        assert (line["event"], line["left"]) == ("drained", 0)

    @pytest.mark.parametrize(
        "odd",
        [{"a": "\ud800"}, {"a": 2**70}, {5: {1, 2}}, {"a": object}, {"a": b"\xff"}, {"a": Path("/x")}],
    )
    def test_no_field_costs_a_line(self, odd: Any) -> None:
        stream, _ = configured()
        logging.getLogger("maester").info("odd", extra={"field": odd})
        (line,) = lines_of(stream)
        assert line["message"] == "odd"
        assert list(line["field"]) == [str(key) for key in odd]

    def test_line_breaks_do_not_make_lines(self) -> None:
        stream, _ = configured()
        logging.getLogger("maester").info("one\ntwo\r\nthree\u2028four")
        assert len(stream.getvalue().split("\n")) == 2
        (line,) = [json.loads(stream.getvalue())]
        assert line["message"] == "one\ntwo\r\nthree\u2028four"


class TestLevels:
    def test_maesters_level_is_the_configured_one(self) -> None:
        stream, _ = configured(level="debug")
        logging.getLogger("maester.x").debug("fine print")
        logging.getLogger("library").debug("a request, perhaps with its key")
        logging.getLogger("library").info("news")
        logging.getLogger("urllib3.connectionpool").info("Starting new HTTPS connection")
        assert [line["message"] for line in lines_of(stream)] == ["fine print", "news"]

    def test_a_higher_level_is_everyones(self) -> None:
        stream, _ = configured(level="error")
        logging.getLogger("maester.x").warning("no")
        logging.getLogger("library").warning("no")
        logging.getLogger("library").error("yes")
        assert [line["message"] for line in lines_of(stream)] == ["yes"]

    def test_configuring_again_replaces(self) -> None:
        first, _ = configured()
        second, _ = configured()
        logging.getLogger("maester").info("once")
        assert first.getvalue() == ""
        assert len(lines_of(second)) == 1


class TestRedaction:
    def test_secrets_are_taken_out_wherever_they_are(self) -> None:
        stream, _ = configured()
        try:
            raise ValueError(f"401 for key {SECRET}")
        except ValueError:
            logging.getLogger("maester").exception("with hunter2-hunter2", extra={"headers": {"k": SECRET}})
        assert SECRET not in stream.getvalue()
        assert "hunter2-hunter2" not in stream.getvalue()
        assert "redacted" in stream.getvalue()
        assert len(lines_of(stream)) == 1

    def test_also_what_a_caller_puts_into_its_names(self) -> None:
        stream, settings = configured(spans="all")
        inference = inference_of(tags={"team": SECRET})
        custom = Span("fetch", None, "custom", {"authorization": f"Bearer {SECRET}"})
        custom.duration_s = 0.1
        inference.spans.append(custom)
        LogSink(settings.log).settle(record_of(inference))
        assert SECRET not in stream.getvalue()
        assert [line["event"] for line in lines_of(stream)] == ["span_end"] * 4 + ["inference_end"]


class TestInferenceEnd:
    def settle(self, inference: Inference, **log: Any) -> list[Line]:
        stream, settings = configured(**log)
        LogSink(settings.log).settle(record_of(inference))
        return lines_of(stream)

    def test_what_it_says(self) -> None:
        inference = inference_of(tags={"team": "search"})
        (line,) = self.settle(inference, spans="none")
        assert line["timestamp"] == timestamp(inference.started_at + 0.5)
        assert {
            key: line[key]
            for key in (
                "level",
                "message",
                "event",
                "request_id",
                "trace_id",
                "model",
                "response_model",
                "status",
            )
        } == {
            "level": "info",
            "message": "inference_end",
            "event": "inference_end",
            "request_id": inference.request_id,
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "model": "openai/gpt-4o-mini",
            "response_model": "gpt-4o-mini-2024-07-18",
            "status": "ok",
        }
        assert line["total_cost_usd"] == "0.00039"
        assert line["passed"] is True
        assert line["checks"] == {"non_empty": True}
        assert line["error"] is None
        assert line["alias"] == "client-1"
        assert line["tags"] == {"team": "search"}

    def test_it_never_has_content(self) -> None:
        inference = inference_of(
            messages=({"role": "user", "content": "What is the recipe?"},), user="ann@example.com"
        )
        written = json.dumps(self.settle(inference, spans="all"))
        assert "recipe" not in written
        assert "ann@example.com" not in written

    def test_an_unknown_cost_is_not_zero(self) -> None:
        inference = inference_of()
        inference.cost = Cost(None, False, estimated=True, unpriced=("attempt 1: no price",))
        (line,) = self.settle(inference, spans="none")
        assert (line["total_cost_usd"], line["priced"], line["estimated"]) == (None, False, True)

    def test_an_error_is_a_warning_with_its_code(self) -> None:
        inference = inference_of()
        inference.error = ProviderTimeout("no answer")
        inference.response = inference.cost = inference.evaluations = None
        inference.faults.append(Fault("sink kafka", "sink_error", "ConnectionError: refused"))
        (line,) = self.settle(inference, spans="none", level="warning")
        assert (line["level"], line["status"], line["error"]) == ("warning", "error", "provider_timeout")
        assert line["total_cost_usd"] is None
        assert line["passed"] is None
        assert line["faults"] == ["sink kafka: sink_error"]

    @pytest.mark.parametrize(
        ("log", "events"),
        [
            ({}, ["gateway", "evaluate", "inference_end"]),
            ({"spans": "stage", "inferences": False}, ["gateway", "evaluate"]),
            ({"spans": "none"}, ["inference_end"]),
            ({"spans": "all"}, ["gateway", "chat gpt-4o-mini", "evaluate", "inference_end"]),
            ({"spans": "none", "inferences": False}, []),
            ({"spans": "all", "level": "warning"}, []),
        ],
    )
    def test_which_lines_are_written(self, log: Mapping[str, Any], events: list[str]) -> None:
        lines = self.settle(inference_of(), **log)
        assert [line.get("span") or line["event"] for line in lines] == events

    def test_a_span(self) -> None:
        inference = inference_of()
        (line, *_) = self.settle(inference)
        gateway = inference.spans[0]
        assert line == {
            "timestamp": timestamp(gateway.start + 0.25),
            "level": "info",
            "logger": "maester.inference",
            "message": "span_end",
            "event": "span_end",
            "request_id": inference.request_id,
            "trace_id": "0af7651916cd43dd8448eb211c80319c",
            "span_id": gateway.span_id,
            "parent_span_id": gateway.parent_id,
            "span": "gateway",
            "kind": "stage",
            "status": "ok",
            "duration_s": 0.25,
        }


class TestEmbedded:
    """In a program of somebody else's, that never called `configure`."""

    def test_nothing_is_written_unasked(self) -> None:
        program = """
from maester.errors import ProviderTimeout
from maester.logs import LogSink
from maester.model import Inference, Request
from maester.record import record_of
from maester.settings import LogSettings

inference = Inference(Request("m"))
inference.error = ProviderTimeout("no answer")
LogSink(LogSettings(spans="all")).settle(record_of(inference))
"""
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True, timeout=60)
        assert (done.stdout, done.stderr) == (b"", b"")

    def test_the_programs_own_logging_gets_the_events(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO, logger="maester.inference"):
            LogSink(LogSettings(spans="stage")).settle(record_of(inference_of()))
        assert [record.getMessage() for record in caplog.records] == ["span_end", "span_end", "inference_end"]
        assert caplog.records[-1].__dict__["total_cost_usd"] == "0.00039"


class TestOutput:
    def test_a_line_is_never_torn_on_a_shared_pipe(self) -> None:
        """Several processes and one pipe, as under gunicorn: every line arrives whole."""
        reader, writer = os.pipe()
        context = multiprocessing.get_context("spawn")
        processes = [
            context.Process(target=_write_many, args=(context.reducer.DupFd(writer), str(number)))
            for number in range(3)
        ]
        received: list[bytes] = []
        collector = threading.Thread(
            target=lambda: received.extend(iter(lambda: os.read(reader, 65536), b""))
        )
        collector.start()
        for process in processes:
            process.start()
        os.close(writer)
        for process in processes:
            process.join()
        collector.join()
        os.close(reader)
        lines = [json.loads(line) for line in b"".join(received).splitlines()]
        assert sorted((line["writer"], line["number"]) for line in lines) == sorted(
            (str(writer), number) for writer in range(3) for number in range(200 * 20)
        )

    def test_a_line_longer_than_a_pipe_is_written_all_the_same(self, tmp_path: Path) -> None:
        with (tmp_path / "log").open("w") as stream:
            handler = JsonHandler(stream)
            handler.write_lines([b'{"a":1}', b'{"b":"' + b"x" * 3 * PIPE_BYTES + b'"}', b'{"c":1}'])
        lines = (tmp_path / "log").read_text().splitlines()
        assert [next(iter(json.loads(line))) for line in lines] == ["a", "b", "c"]

    def test_a_non_blocking_pipe_that_is_full_is_waited_for(self) -> None:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        line = b'{"filler":"' + b"x" * 1000 + b'"}'
        handler = JsonHandler(os.fdopen(writer, "w"))
        received: list[bytes] = []
        collector = threading.Thread(target=lambda: received.extend(iter(lambda: os.read(reader, 512), b"")))
        collector.start()
        handler.write_lines([line] * 500)
        handler.stream.close()
        collector.join()
        os.close(reader)
        assert b"".join(received) == (line + b"\n") * 500

    def test_nobody_reading_is_an_error_for_the_caller(self) -> None:
        reader, writer = os.pipe()
        handler = JsonHandler(os.fdopen(writer, "w"))
        os.close(reader)
        with pytest.raises(BrokenPipeError):
            handler.write_lines([b"{}"])
        handler.stream.close()


def _write_many(descriptor: Any, writer: str) -> None:
    handler = JsonHandler(os.fdopen(descriptor.detach(), "w"))
    filler = "x" * 150
    for batch in range(200):
        handler.write_lines(
            json.dumps({"writer": writer, "number": batch * 20 + index, "filler": filler}).encode()
            for index in range(20)
        )


def test_the_sink_is_registered_through_the_hook() -> None:
    sinks: list[Any] = []
    maester_register_sinks(sinks.append, LogSettings())
    assert [sink.name for sink in sinks] == ["log"]


_APPLICATION = """
import logging

def app(environ, start_response):
    logging.getLogger("maester.web").warning("at work")
    start_response("200 OK", [
        ("Content-Length", "2"),
        ("x-request-id", "request-1"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    ])
    return [b"ok"]
"""


def test_gunicorn_writes_the_same_shape(tmp_path: Path) -> None:
    """A real gunicorn: its own lines, the application's and the access lines."""
    (tmp_path / "application.py").write_text(_APPLICATION)
    socket = tmp_path / "s"
    (tmp_path / "gunicorn.conf.py").write_text(
        "import os, signal, socket\n"
        "def when_ready(server):\n"
        "    if os.fork() == 0:\n"
        f"        client = socket.socket(socket.AF_UNIX); client.connect({str(socket)!r})\n"
        "        client.sendall(b'GET /path?key=secret HTTP/1.1\\r\\nHost: x\\r\\n')\n"
        "        client.sendall(b'Connection: close\\r\\n\\r\\n')\n"
        "        while client.recv(4096): pass\n"
        "        os.kill(os.getppid(), signal.SIGTERM)\n"
        "        os._exit(0)\n"
    )
    command = [
        *(sys.executable, "-m", "gunicorn", "application:app", "--bind", f"unix:{socket}"),
        *("--logger-class", "maester.logs.server.ServerLogger", "--access-logfile", "-"),
        *("--worker-class", "sync", "--no-control-socket"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert {line["logger"] for line in lines} == {"gunicorn.error", "gunicorn.access", "maester.web"}
    assert all({"timestamp", "level", "message"} <= line.keys() for line in lines)
    (access,) = [line for line in lines if line["logger"] == "gunicorn.access"]
    assert access["message"] == "GET /path 200"
    assert access["request_id"] == "request-1"
    assert access["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert (access["method"], access["path"], access["status"]) == ("GET", "/path", 200)
    assert access["duration_s"] >= 0
    assert "secret" not in json.dumps(access)
