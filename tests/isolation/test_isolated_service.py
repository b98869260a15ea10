"""A running service whose plugins hang, loop for ever and fail: it serves, and says whose fault it was."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from support.console import maester
from support.plugins import lay_plugin
from support.server import Server

PLUGINS = {
    "at_import": "raise RuntimeError('at import')",
    "at_registration": """
        import maester
        @maester.hookimpl
        def maester_register_sinks(register, settings):
            raise LookupError('at registration')
    """,
    "name_taken": """
        import maester
        class Again:
            name = "echo"
            def generate(self, call): ...
        @maester.hookimpl
        def maester_register_providers(register, settings):
            register(Again())
    """,
    "spinning": """
        import maester
        class Spinning:
            name = "spinning"
            def evaluate(self, sample, parameters):
                while True:
                    pass
        @maester.hookimpl
        def maester_register_evaluators(register, settings):
            register(Spinning())
    """,
    "wrong_type": """
        import maester
        class Wrong:
            name = "wrong"
            def evaluate(self, sample, parameters):
                return "passed"
        @maester.hookimpl
        def maester_register_evaluators(register, settings):
            register(Wrong())
    """,
    "blocking": """
        import maester
        from maester import native
        class Blocking:
            name = "blocking"
            timeout_s = 0.5
            def generate(self, call):
                native.original("time", "sleep")(8)
            def stream(self, call):
                yield maester.Chunk.of("one")
                native.original("time", "sleep")(8)
        @maester.hookimpl
        def maester_register_providers(register, settings):
            register(Blocking())
    """,
    "waiting": """
        import maester, time
        class Waiting:
            name = "waiting"
            timeout_s = 0.3
            def settle(self, record):
                time.sleep(60)
        @maester.hookimpl
        def maester_register_sinks(register, settings):
            register(Waiting())
    """,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A gevent worker with all of them."""
    folder = tmp_path_factory.mktemp("isolation")
    for name, source in PLUGINS.items():
        lay_plugin(folder / "site", name, source)
    config = "[evaluate]\ntimeout_s = 0.5\n"
    with Server(folder / "home", config=config, environ={"PYTHONPATH": str(folder / "site")}) as running:
        yield running


def ask(server: Server, model: str = "echo", **more: Any) -> dict[str, Any]:
    return dict(server.post("/v1/generate", {"model": model, "prompt": "hi", **more}).json())


def report(server: Server, name: str) -> dict[str, Any]:
    listed = server.get("/v1/plugins").json()["data"]
    return dict(next(plugin for plugin in listed if plugin["name"] == name))


@pytest.mark.parametrize(
    ("plugin", "error"),
    [
        ("at_import", "RuntimeError: at import"),
        ("at_registration", "LookupError: at registration"),
        ("name_taken", "PluginConflictError: a provider called 'echo' is already registered"),
    ],
)
def test_what_fails_to_load_is_listed_and_logged(server: Server, plugin: str, error: str) -> None:
    assert ask(server)["output"] == "hi"
    assert (report(server, plugin)["status"], report(server, plugin)["error"]) == ("failed", error)
    assert f"Plugin {plugin} was left out: {error}" in server.log


def test_an_evaluator_in_an_endless_loop_stops_no_other_request(server: Server) -> None:
    with ThreadPoolExecutor(16) as pool:
        looping = [pool.submit(ask, server, evaluate=["spinning"]) for _ in range(4)]
        started = time.monotonic()
        others = [pool.submit(ask, server, evaluate=["non_empty"]) for _ in range(12)]
        assert all(other.result()["evaluation"]["passed"] is True for other in others)
        assert time.monotonic() - started < 10
        answers = [each.result() for each in looping]
    for answer in answers:
        (result,) = answer["evaluation"]["results"]
        assert result["state"] == "error"
        assert "plugin 'spinning' did not return within 0.5 s" in result["explanation"]
    record = server.inference(answers[0]["request_id"])
    assert ("plugin spinning: evaluator spinning", "plugin_timeout") in _faults(record)
    assert report(server, "spinning")["failures"]["last"]["code"] == "plugin_timeout"
    assert "Plugin spinning failed (evaluator spinning)" in server.log


def test_an_evaluator_that_returns_something_else_is_named(server: Server) -> None:
    answer = ask(server, evaluate=["wrong"])
    assert answer["evaluation"]["results"][0]["state"] == "error"
    assert report(server, "wrong_type")["failures"]["last"]["where"] == "evaluator wrong"
    assert "Plugin wrong_type failed (evaluator wrong)" in server.log


def test_a_provider_that_blocks_its_thread_stops_no_other_request(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        blocked = pool.submit(server.post, "/v1/generate", {"model": "blocking/x", "prompt": "hi"})
        time.sleep(0.1)
        started = time.monotonic()
        assert ask(server)["output"] == "hi"
        assert time.monotonic() - started < 3
        response = blocked.result()
    assert response.status_code == 504
    assert response.json()["error"]["code"] == "provider_timeout"
    record = server.inference(response.headers["x-request-id"])
    assert ("plugin blocking: provider blocking", "plugin_timeout") in _faults(record)
    assert record["attempts"][0]["error"]["code"] == "provider_timeout"
    assert report(server, "blocking")["failures"]["count"] >= 1
    assert "Plugin blocking failed (provider blocking)" in server.log


def test_a_stream_that_blocks_its_thread_ends_with_an_error(server: Server) -> None:
    body = {"model": "blocking/x", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    response = server.post("/v1/chat/completions", body)
    assert '"content":"one"' in response.text
    assert "provider_timeout" in response.text
    assert "[DONE]" not in response.text


def test_a_sink_that_hangs_slows_no_request_after_the_first(server: Server) -> None:
    ask(server)
    started = time.monotonic()
    response = server.post("/v1/generate", {"model": "echo", "prompt": "hi"})
    assert time.monotonic() - started < 0.3
    record = server.inference(response.headers["x-request-id"])
    assert ("plugin waiting: sink waiting", "plugin_unavailable") in _faults(record)
    assert report(server, "waiting")["failures"]["last"]["where"] == "sink waiting"
    assert "Plugin waiting failed (sink waiting)" in server.log


def test_the_command_line_names_who_failed_from_the_record(server: Server) -> None:
    record = server.inference(ask(server, evaluate=["wrong"])["request_id"])
    assert ("plugin wrong_type: evaluator wrong", "evaluation_error") in _faults(record)
    environ = {
        "PYTHONPATH": str(server.folder.parent / "site"),
        "MAESTER_DATA_DIR": str(server.folder / "data"),
    }
    listed = maester("plugins", "--json", cwd=server.folder, environ=environ)
    by_name = {plugin["name"]: plugin for plugin in json.loads(listed.stdout)["data"]}
    assert by_name["wrong_type"]["failures"]["last"]["code"] == "evaluation_error"
    assert by_name["at_import"]["status"] == "failed"
    shown = maester("plugins", cwd=server.folder, environ=environ)
    assert "lately: evaluator wrong: evaluation_error: The evaluator returned str" in shown.stderr


def _faults(record: dict[str, Any]) -> list[tuple[str, str]]:
    return [(fault["where"], fault["code"]) for fault in record["faults"]]
