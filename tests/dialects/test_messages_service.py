"""Anthropic's SDK against the whole service, with every kind of provider behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from werkzeug.serving import make_server

from maester.runtime import Runtime
from maester.web import create_app
from support.anthropic_wire import EVENTS, MESSAGE
from support.gemini_wire import BODY, pieces
from support.ollama_wire import LINES, WHOLE
from support.providers import events_reply, lines_reply
from support.upstream import Upstream, completion, json_body, stream

CONFIG = """
data_dir = "{data}"

[providers.openai]
type = "openai"
base_url = "{origin}/v1"
api_key = "k"

[providers.anthropic]
type = "anthropic"
base_url = "{origin}"
api_key = "k"

[providers.gemini]
type = "gemini"
base_url = "{origin}/v1beta"
api_key = "k"

[providers.ollama]
type = "ollama"
base_url = "{origin}"
"""

ASKED: dict[str, Any] = {"max_tokens": 20, "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture(scope="module")
def behind() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, behind: Upstream) -> Iterator[anthropic.Anthropic]:
    folder = tmp_path_factory.mktemp("messages")
    path = folder / "maester.toml"
    path.write_text(CONFIG.format(data=folder / "data", origin=behind.origin))
    with Runtime.build(path, environ={}) as runtime:
        server = make_server("127.0.0.1", 0, create_app(runtime), threaded=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}"
            with anthropic.Anthropic(base_url=address, api_key="k", max_retries=0) as sdk:
                yield sdk
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


def text_of(message: anthropic.types.Message) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def tools_of(message: anthropic.types.Message) -> list[Any]:
    return [(block.name, block.input) for block in message.content if block.type == "tool_use"]


def streamed(client: anthropic.Anthropic, model: str) -> anthropic.types.Message:
    with client.messages.stream(model=model, **ASKED) as events:
        for _ in events:
            pass
        return events.get_final_message()


def test_openai_behind(client: anthropic.Anthropic, behind: Upstream) -> None:
    behind.respond(completion("Hello"), stream(("Hel", "lo")))
    whole = client.messages.create(model="openai/gpt-4o-mini", **ASKED)
    pieced = streamed(client, "openai/gpt-4o-mini")
    for message in (whole, pieced):
        assert text_of(message) == "Hello"
        assert message.stop_reason == "end_turn"
        assert message.usage.input_tokens == 200
        assert message.usage.cache_read_input_tokens == 1000
        assert message.usage.output_tokens == 350
    assert behind.requests[-1].json["messages"] == ASKED["messages"]


def test_anthropic_behind(client: anthropic.Anthropic, behind: Upstream) -> None:
    behind.respond(json_body(MESSAGE), events_reply(EVENTS, named=True))
    whole = client.messages.create(model="anthropic/claude-x", **ASKED)
    pieced = streamed(client, "anthropic/claude-x")
    for message in (whole, pieced):
        assert message.id == "msg_1"
        assert text_of(message) == "It is sunny."
        assert tools_of(message) == [("weather", {"city": "Brno"}), ("now", {})]
        assert message.usage.input_tokens == 10
        assert message.usage.output_tokens == 50
    sent = behind.requests[-1]
    assert sent.json == {**ASKED, "model": "claude-x", "stream": True}
    assert sent.headers["anthropic-version"] == "2026-10-21"


def test_gemini_behind(client: anthropic.Anthropic, behind: Upstream) -> None:
    behind.respond(json_body(BODY), events_reply(pieces()))
    whole = client.messages.create(model="gemini/gemini-3-pro", **ASKED)
    pieced = streamed(client, "gemini/gemini-3-pro")
    for message in (whole, pieced):
        assert text_of(message) == "It is sunny."
        assert tools_of(message) == [("weather", {"city": "Brno"})]
        assert message.stop_reason == "tool_use"
        assert message.usage.input_tokens == 67
        assert message.usage.cache_read_input_tokens == 40
        assert message.usage.output_tokens == 50


def test_ollama_behind(client: anthropic.Anthropic, behind: Upstream) -> None:
    behind.respond(json_body(WHOLE), lines_reply(LINES))
    whole = client.messages.create(model="ollama/llama3.2", **ASKED)
    pieced = streamed(client, "ollama/llama3.2")
    for message in (whole, pieced):
        assert text_of(message) == "It is."
        assert tools_of(message) == [("f", {"a": 1})]
        assert message.usage.input_tokens == 12
        assert message.usage.output_tokens == 7


def test_what_only_anthropic_can_be_told_is_refused_for_others(client: anthropic.Anthropic) -> None:
    search: Any = {"type": "web_search_20250305", "name": "web_search"}
    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\]"):
        client.messages.create(model="openai/gpt-4o-mini", tools=[search], **ASKED)


@pytest.mark.parametrize("count", [2, len(EVENTS) - 1])
def test_a_stream_that_is_cut_off_raises_in_the_sdk(
    client: anthropic.Anthropic, behind: Upstream, count: int
) -> None:
    behind.respond(events_reply(EVENTS[:count], named=True))
    with pytest.raises(anthropic.APIStatusError, match="message_stop"):
        streamed(client, "anthropic/claude-x")
