from __future__ import annotations

import itertools
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from maester import errors
from maester.model import Call, Chunk, Request, Usage
from maester.providers.azure import Azure
from maester.providers.openai import OpenAI
from maester.settings import ProviderSettings
from support import upstream as up
from support.upstream import Upstream

KEY = "sk-test-1234"
HELLO = [{"role": "user", "content": "Hello"}]


def call(
    operation: Any = "chat", *, model: str = "gpt-4o-mini", deadline: float | None = None, **kw: Any
) -> Call:
    return Call(model, Request(model, operation=operation, **kw), {"traceparent": "00-t"}, deadline)


Make = Callable[..., OpenAI]


@pytest.fixture
def make(upstream: Upstream) -> Iterator[Make]:
    made: list[OpenAI] = []

    def build(kind: type[OpenAI] = OpenAI, base_url: str = upstream.base_url, **settings: Any) -> OpenAI:
        provider = kind(ProviderSettings("acme", kind.type, base_url=base_url, api_key=KEY, **settings))
        made.append(provider)
        return provider

    yield build
    for provider in made:
        provider.close()


def test_everything_passes_through_untouched(make: Make, upstream: Upstream) -> None:
    messages: list[Any] = [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?", "unheard_of": 1},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "c", "type": "function", "function": {}}],
        },
        {"role": "tool", "tool_call_id": "c", "content": "é😀"},
    ]
    parameters = {
        "temperature": 0.1,
        "max_completion_tokens": 5,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}},
        "never_heard_of": {"deep": [1, None]},
        "service_tier": "flex",
    }
    extra = {
        "choices": [{**up.completion_body()["choices"][0], "novel": 1}],
        "service_tier": "flex",
        "new": [1],
    }
    upstream.respond(up.completion(**extra))
    response = make().generate(call(messages=messages, parameters=parameters))
    received = upstream.requests[0]
    assert received.path == "/v1/chat/completions"
    assert received.json == {"model": "gpt-4o-mini", "messages": messages, **parameters}
    assert response.body == up.completion_body(**extra)
    assert response.service_tier == "flex"


@pytest.mark.parametrize(
    ("kind", "dialect", "name"),
    [
        (Azure, "anthropic", "max_completion_tokens"),
        (Azure, "openai", "max_tokens"),
        (OpenAI, "anthropic", "max_tokens"),
    ],
)
def test_an_anthropic_callers_limit_has_the_name_that_reasoning_models_take(
    make: Make, upstream: Upstream, kind: type[OpenAI], dialect: Any, name: str
) -> None:
    upstream.respond(up.completion())
    request = {"messages": HELLO, "parameters": {"max_tokens": 7}, "dialect": dialect}
    make(kind).generate(call(**request))
    sent = upstream.requests[-1].json
    assert {key: value for key, value in sent.items() if key.startswith("max_")} == {name: 7}


def test_the_answer_is_read(make: Make, upstream: Upstream) -> None:
    response = make().generate(call(messages=HELLO))
    assert (response.output, response.finish_reason, response.id) == ("Hello", "stop", "chatcmpl-1")
    assert response.model == "gpt-4o-mini-2024-07-18"
    assert response.usage == Usage(1200, 350, cache_read_tokens=1000, reasoning_tokens=50)


def test_only_our_own_headers_are_sent(make: Make, upstream: Upstream) -> None:
    make(options={"organization": "org-1", "project": "p-1", "headers": {"X-Title": "us"}}).generate(call())
    headers = dict(upstream.requests[0].headers)
    assert headers.pop("user-agent").startswith("maester/")
    assert headers == {
        "host": f"127.0.0.1:{upstream.port}",
        "accept": "application/json",
        "accept-encoding": "identity",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "content-length": str(len(upstream.requests[0].body)),
        "traceparent": "00-t",
        "openai-organization": "org-1",
        "openai-project": "p-1",
        "x-title": "us",
    }


def test_without_a_key_none_is_sent(upstream: Upstream) -> None:
    provider = OpenAI(ProviderSettings("local", "openai", base_url=f"{upstream.base_url}/"))
    provider.generate(call())
    provider.close()
    assert "authorization" not in upstream.requests[0].headers
    assert upstream.requests[0].path == "/v1/chat/completions"


@pytest.mark.parametrize(
    ("message", "output"),
    [
        ({"role": "assistant", "content": None, "tool_calls": [{"id": "c"}]}, ""),
        (
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, {"type": "x"}, {"type": "text", "text": "b"}],
            },
            "ab",
        ),
        ({"role": "assistant"}, ""),
    ],
)
def test_the_text_of_an_answer(make: Make, upstream: Upstream, message: Any, output: str) -> None:
    upstream.respond(up.completion(choices=[{"index": 0, "message": message, "finish_reason": "tool_calls"}]))
    assert make().generate(call()).output == output


def usage(**counts: Any) -> dict[str, Any]:
    return counts


@pytest.mark.parametrize(
    ("reported", "expected"),
    [
        (usage(prompt_tokens=5, completion_tokens=7, total_tokens=12), Usage(5, 7)),
        (usage(prompt_tokens=5.0, completion_tokens=7), Usage(5, 7)),
        (usage(prompt_tokens=5, total_tokens=12), Usage(5, 7)),
        (usage(completion_tokens=7, total_tokens=12), Usage(5, 7)),
        (
            usage(
                prompt_tokens=50,
                completion_tokens=70,
                prompt_tokens_details=usage(cached_tokens=10, cache_write_tokens=4, audio_tokens=3),
                completion_tokens_details=usage(reasoning_tokens=20, audio_tokens=6),
            ),
            Usage(
                50, 70, cache_read_tokens=10, cache_write_tokens=4, input_audio_tokens=3,
                reasoning_tokens=20, output_audio_tokens=6,
            ),
        ),
        (
            usage(
                prompt_tokens=5,
                completion_tokens=7,
                prompt_tokens_details=None,
                completion_tokens_details=usage(reasoning_tokens=None),
            ),
            Usage(5, 7),
        ),
        (
            usage(
                prompt_tokens=5,
                completion_tokens=7,
                total_tokens=112,
                completion_tokens_details=usage(reasoning_tokens=100),
            ),
            Usage(5, 107, reasoning_tokens=100),
        ),
        (
            usage(prompt_tokens=50, completion_tokens=7, prompt_cache_hit_tokens=40),
            Usage(50, 7, cache_read_tokens=40),
        ),
        (usage(prompt_tokens=-5, completion_tokens=7), None),
        (usage(prompt_tokens="5", completion_tokens=7), None),
        (usage(prompt_tokens=True, completion_tokens=7), None),
        (usage(prompt_tokens=5.5, completion_tokens=7), None),
        (usage(prompt_tokens=5, completion_tokens=7, prompt_tokens_details=usage(cached_tokens=6)), None),
        (
            usage(prompt_tokens=5, completion_tokens=7, completion_tokens_details=usage(reasoning_tokens=8)),
            None,
        ),
        (usage(prompt_tokens=5), None),
        (usage(), None),
        (None, None),
        ([1], None),
    ],
)  # fmt: skip
def test_usage(make: Make, upstream: Upstream, reported: Any, expected: Usage | None) -> None:
    upstream.respond(up.completion(usage=reported))
    assert make().generate(call()).usage == expected


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (up.html(), "something that is not JSON (text/html"),
        (up.not_json(), "something that is not JSON (application/json"),
        (up.empty(), "an empty body"),
        (up.body_of(b" \n"), "an empty body"),
        (up.body_of(b"[]"), "JSON that is not an object"),
        (up.body_of(b'{"a": NaN}'), "something that is not JSON"),
        (up.json_body({}), "an object without choices"),
        (up.json_body({"choices": []}), "an object without choices"),
        (up.json_body({"choices": {"0": {}}}), "an object without choices"),
        (up.json_body({"choices": ["text"]}), "a choice without a message"),
        (up.json_body({"choices": [{"message": "text"}]}), "a choice without a message"),
        (up.json_body({"choices": [{"message": {"content": 5}}]}), "a message whose content is no text"),
        (up.json_body({"choices": [{"message": {"tool_calls": "f()"}}]}), "tool calls are no list"),
        (
            up.json_body({"choices": [{"message": {"tool_calls": [{"function": 1}]}}]}),
            "tool calls are no list",
        ),
        (up.redirect(), "redirects (307) to http://127.0.0.1:9/v1"),
        (up.short_body(), "bytes early"),
    ],
)
def test_an_answer_that_is_none_is_a_bad_response(
    make: Make, upstream: Upstream, reply: Any, says: str
) -> None:
    upstream.respond(reply)
    with pytest.raises(errors.BadProviderResponse) as caught:
        make().generate(call())
    assert says in caught.value.message
    assert caught.value.provider == "acme"
    sent = reply[0].partition(b"\r\n\r\n")[2]
    received = (caught.value.received or "").encode()
    assert b"".join(received.split()) == b"".join(sent.split()) or "redirects" in says


def test_what_was_received_is_kept_but_not_the_key(make: Make, upstream: Upstream) -> None:
    upstream.respond(
        up.body_of(b"your key is " + KEY.encode() + b"x" * 10_000, headers={"x-request-id": "req_7"})
    )
    with pytest.raises(errors.BadProviderResponse) as caught:
        make().generate(call())
    received = caught.value.received or ""
    assert received.startswith("your key is [secret]xxx")
    assert len(received) == 2000
    assert (caught.value.status, caught.value.provider_request_id) == (200, "req_7")
    upstream.respond(up.completion(choices=[]))
    with pytest.raises(errors.BadProviderResponse) as caught:
        make().generate(call())
    assert (caught.value.status, caught.value.provider_request_id) == (200, "req_1")


def test_the_providers_error_is_kept(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.error(429, "Slow down.", "rate_limit", headers={"retry-after": "3"}))
    with pytest.raises(errors.ProviderRateLimited) as caught:
        make().generate(call())
    assert caught.value.retry_after_s == 3
    assert caught.value.as_dict() == {
        "code": "provider_rate_limited",
        "message": "Provider acme limits the rate of requests (429): Slow down.",
        "provider": {
            "name": "acme",
            "status": 429,
            "code": "rate_limit",
            "message": "Slow down.",
            "request_id": "req_1",
        },
    }


def test_an_error_whose_body_breaks_off_is_still_that_error(make: Make, upstream: Upstream) -> None:
    upstream.respond([up.head(529, {"Content-Length": "99"}) + b'{"error"', up.CLOSE])
    with pytest.raises(errors.ProviderUnavailable, match=r"is overloaded \(529\)") as caught:
        make().generate(call())
    assert caught.value.received == '{"error"'


def test_an_error_with_the_status_of_success_is_an_error(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.json_body({"error": {"code": 429, "message": "Upstream is busy"}}))
    with pytest.raises(errors.ProviderRateLimited, match="Upstream is busy"):
        make().generate(call())
    with pytest.raises(errors.ProviderRateLimited, match="Upstream is busy"):
        make().embed(call("embeddings", input="x"))


def test_what_json_cannot_say_is_refused(make: Make, upstream: Upstream) -> None:
    with pytest.raises(errors.InvalidRequest, match="cannot be written as JSON"):
        make().generate(call(parameters={"x": object()}))
    with pytest.raises(errors.InvalidRequest, match="cannot be written as JSON"):
        make().generate(call(messages=[{"role": "user", "content": "\ud800"}]))
    assert upstream.requests == []


def test_a_stream_comes_piece_by_piece_and_reports_usage(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.stream(["Hel", "lo"]))
    chunks = list(make().stream(call(messages=HELLO, parameters={"temperature": 0})))
    events = [json.loads(event[6:]) for event in up.stream_events(["Hel", "lo"])[:-1]]
    assert [chunk.body for chunk in chunks] == events
    assert [chunk.usage_only for chunk in chunks] == [False] * 4 + [True]
    assert chunks[-1].usage == Usage(1200, 350, cache_read_tokens=1000, reasoning_tokens=50)
    received = upstream.requests[0]
    assert received.headers["accept"] == "text/event-stream"
    assert received.json == {
        "model": "gpt-4o-mini",
        "messages": HELLO,
        "temperature": 0,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_the_callers_stream_options_are_kept(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.stream())
    options = {"include_usage": False, "include_obfuscation": False}
    list(make().stream(call(parameters={"stream_options": options})))
    assert upstream.requests[0].json["stream_options"] == {
        "include_usage": True,
        "include_obfuscation": False,
    }


def test_usage_on_a_piece_with_a_choice_does_not_make_it_a_usage_piece(
    make: Make, upstream: Upstream
) -> None:
    last = up.chunk_body({}, "stop", usage={"prompt_tokens": 1, "completion_tokens": 2})
    upstream.respond([up.STREAM_HEAD, up.chunk(up.event(last)), up.chunk(b"data: [DONE]\n\n"), up.chunk(b"")])
    chunk = next(iter(make().stream(call())))
    assert (chunk.usage, chunk.usage_only) == (Usage(1, 2), False)


def test_the_first_piece_is_there_before_the_second_is_sent(make: Make, upstream: Upstream) -> None:
    upstream.respond([up.STREAM_HEAD, up.chunk(up.stream_events(["Hel"])[1]), up.STALL])
    chunks = make().stream(call())
    assert next(chunks).body["choices"][0]["delta"] == {"content": "Hel"}
    chunks.close()  # type: ignore[attr-defined]
    assert upstream.requests[0].hung_up.wait(5)


def test_a_finished_stream_leaves_its_connection_for_the_next(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.stream(), up.completion())
    provider = make()
    list(provider.stream(call()))
    time.sleep(0.1)  # It rests a moment.
    provider.generate(call())
    assert {request.connection for request in upstream.requests} == {1}


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (up.stream_cut(), "ends without [DONE]"),
        (up.stream_cut(finished=True), "ends without [DONE]"),
        (up.cut_chunked(), "before the last chunk"),
        (
            [up.head(200, {"Content-Type": "text/event-stream"}), up.stream_events(["Hel"])[1], up.CLOSE],
            "[DONE]",
        ),
    ],
)
def test_a_stream_cut_off_is_an_error_after_what_came(
    make: Make, upstream: Upstream, reply: Any, says: str
) -> None:
    upstream.respond(reply)
    chunks: list[Chunk] = []
    with pytest.raises(errors.BadProviderResponse) as caught:
        chunks.extend(make().stream(call()))
    words = [choice["delta"].get("content") for chunk in chunks for choice in chunk.body["choices"]]
    assert "Hel" in words
    assert says in caught.value.message
    assert caught.value.provider_request_id == ("req_1" if reply[0] == up.STREAM_HEAD else None)


def test_a_server_that_never_sends_done_can_be_configured(make: Make, upstream: Upstream) -> None:
    provider = make(options={"done_marker": False, "stream_usage": False})
    upstream.respond(up.stream_cut(finished=True), up.stream_cut())
    assert len(list(provider.stream(call()))) == 4
    assert "stream_options" not in upstream.requests[0].json
    with pytest.raises(errors.BadProviderResponse, match="cut off"):
        list(provider.stream(call()))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (None, errors.ProviderUnavailable),
        (
            {"error": {"message": "Slow", "type": "rate_limit_error", "code": "rate_limit_exceeded"}},
            errors.ProviderRateLimited,
        ),
        ({"error": {"message": "Long", "code": "context_length_exceeded"}}, errors.ProviderRejected),
        ({"error": {"message": f"No {KEY}", "code": 401}}, errors.ProviderAuth),
    ],
)
def test_an_error_in_a_stream_is_that_error(
    make: Make, upstream: Upstream, body: Any, kind: type[errors.ProviderError]
) -> None:
    upstream.respond(up.stream_error(body))
    chunks: list[Chunk] = []
    with pytest.raises(kind) as caught:
        chunks.extend(make().stream(call()))
    assert type(caught.value) is kind
    assert len(chunks) == 2
    assert KEY not in f"{caught.value.message}{caught.value.received}"
    assert caught.value.provider_request_id == "req_1"


def test_an_error_event_by_name_is_an_error(make: Make, upstream: Upstream) -> None:
    upstream.respond(
        [up.STREAM_HEAD, up.chunk(up.event({"message": "It broke", "code": 503}, "error")), up.chunk(b"")]
    )
    with pytest.raises(errors.ProviderUnavailable, match="It broke"):
        list(make().stream(call()))


@pytest.mark.parametrize(
    "body",
    [
        b"data: {\n\n",
        b"data: 7\n\n",
        b'data: {"choices": {"a": 1}}\n\n',
        b'data: {"choices": "x"}\n\n',
        b'data: {"choices": [7]}\n\n',
        b'data: {"choices": [null]}\n\n',
        b'data: {"choices": [{"delta": 7}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [7]}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": {"a": 1}}}]}\n\n',
        b'data: {"choices": [{"index": "a", "delta": {}}]}\n\n',
        b'data: {"choices": [{"logprobs": [1], "delta": {}}]}\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"index": "a"}]}}]}\n\ndata: [DONE]\n\n',
        b'data: {"choices": [{"delta": {"tool_calls": [{"function": "f()"}]}}]}\n\ndata: [DONE]\n\n',
        b"data: [DONE]\n\n",
        b"",
    ],
)
def test_a_stream_of_nonsense_is_a_bad_response(make: Make, upstream: Upstream, body: bytes) -> None:
    upstream.respond([up.STREAM_HEAD, *([up.chunk(body)] if body else []), up.chunk(b"")])
    with pytest.raises(errors.BadProviderResponse):
        list(make().stream(call()))


def test_a_stream_that_is_none_is_a_bad_response(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.completion(), up.json_body({"error": {"message": "No", "code": 404}}))
    with pytest.raises(
        errors.BadProviderResponse, match="a request for a stream with one piece of JSON"
    ) as caught:
        list(make().stream(call()))
    assert "chat.completion" in (caught.value.received or "")
    with pytest.raises(errors.ProviderRejected):
        list(make().stream(call()))
    upstream.respond(up.html())
    with pytest.raises(errors.BadProviderResponse, match="not JSON \\(text/html") as caught:
        list(make().stream(call()))
    assert "Bad gateway" in (caught.value.received or "")


def test_an_error_before_a_stream_is_raised(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.error(401, f"Incorrect API key provided: {KEY}"))
    with pytest.raises(errors.ProviderAuth, match=r"provided: \[secret\]"):
        next(make().stream(call()))


def test_content_in_parts_becomes_text(make: Make, upstream: Upstream) -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "Hi"},
    ]
    events = [
        up.event(up.chunk_body({"content": parts})),
        up.event(up.chunk_body({}, "stop")),
        b"data: [DONE]\n\n",
    ]
    upstream.respond([up.STREAM_HEAD, *map(up.chunk, events), up.chunk(b"")])
    delta = next(make().stream(call())).body["choices"][0]["delta"]
    assert delta == {"content": "Hi", "reasoning_content": "hm"}


def test_timeouts_are_the_settings(make: Make, upstream: Upstream) -> None:
    upstream.by_model["slow"] = up.stall()
    upstream.by_model["stalled"] = [*up.stream()[:2], up.STALL]
    provider = make(first_byte_timeout_s=0.1, idle_timeout_s=0.2)
    with pytest.raises(errors.ProviderTimeout, match=r"0.1 s \(first byte"):
        provider.generate(call(model="slow"))
    with pytest.raises(errors.ProviderTimeout, match=r"0.2 s \(idle"):
        list(provider.stream(call(model="stalled")))
    with pytest.raises(errors.ProviderTimeout, match="total"):
        provider.generate(call(deadline=0.0))


def test_embeddings(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.embeddings(["AACAPw=="]))
    parameters = {"encoding_format": "base64", "dimensions": 1}
    response = make().embed(call("embeddings", model="embedder", input=["a"], parameters=parameters))
    assert upstream.requests[0].path == "/v1/embeddings"
    assert upstream.requests[0].json == {"model": "embedder", "input": ["a"], **parameters}
    assert response.body["data"] == [{"object": "embedding", "index": 0, "embedding": "AACAPw=="}]
    assert (response.usage, response.model, response.output) == (Usage(8), "embedder", "")


@pytest.mark.parametrize("body", [{}, {"data": {}}, {"data": [1]}])
def test_embeddings_that_are_none_are_a_bad_response(make: Make, upstream: Upstream, body: Any) -> None:
    upstream.respond(up.json_body(body))
    with pytest.raises(errors.BadProviderResponse, match="without a list of embeddings"):
        make().embed(call("embeddings", input="a"))


_AZURE = [
    ({}, "", "/openai/v1/chat/completions"),
    ({"api_version": "preview"}, "/openai/v1/", "/openai/v1/chat/completions?api-version=preview"),
    (
        {"api_version": "2024-10-21"},
        "/openai",
        "/openai/deployments/my%20gpt%2F4/chat/completions?api-version=2024-10-21",
    ),
]


@pytest.mark.parametrize(("options", "suffix", "path"), _AZURE)
def test_azure_addresses(make: Make, upstream: Upstream, options: Any, suffix: str, path: str) -> None:
    provider = make(Azure, base_url=upstream.origin + suffix, options=options)
    response = provider.generate(call(model="my gpt/4"))
    received = upstream.requests[0]
    assert received.path == path
    assert received.headers["api-key"] == KEY
    assert "authorization" not in received.headers
    assert received.json["model"] == "my gpt/4"
    assert response.model == "gpt-4o-mini-2024-07-18"


def test_azure_takes_a_token_and_embeds(make: Make, upstream: Upstream) -> None:
    upstream.respond(up.embeddings([[1.0]]))
    provider = make(Azure, base_url=upstream.origin, options={"auth": "bearer", "api_version": "2024-10-21"})
    provider.embed(call("embeddings", model="e", input="x"))
    received = upstream.requests[0]
    assert received.path == "/openai/deployments/e/embeddings?api-version=2024-10-21"
    assert received.headers["authorization"] == f"Bearer {KEY}"
    assert "api-key" not in received.headers


def test_azures_filter_results_pass_through(make: Make, upstream: Upstream) -> None:
    filtered = {**up.chunk_body({}), "choices": [], "prompt_filter_results": [{"prompt_index": 0}]}
    upstream.respond([up.STREAM_HEAD, up.chunk(up.event(filtered)), *up.stream()[1:]])
    chunks = list(make(Azure, base_url=upstream.origin).stream(call()))
    assert chunks[0].body == filtered
    assert not chunks[0].usage_only


@pytest.mark.parametrize(
    ("kind", "settings", "key"),
    [
        (OpenAI, {"base_url": "localhost"}, "providers.acme.base_url"),
        (OpenAI, {"options": {"orgnization": "x"}}, "providers.acme.options.orgnization"),
        (OpenAI, {"options": {"project": 7}}, "providers.acme.options.project"),
        (OpenAI, {"options": {"done_marker": "no"}}, "providers.acme.options.done_marker"),
        (OpenAI, {"options": {"headers": ["x"]}}, "providers.acme.options.headers"),
        (Azure, {"base_url": ""}, "providers.acme.base_url"),
        (Azure, {"options": {"auth": "basic"}}, "providers.acme.options.auth"),
        (Azure, {"options": {"organization": "x"}}, "providers.acme.options.organization"),
    ],
)
def test_a_setting_that_cannot_work_is_named(
    make: Make, kind: Any, settings: dict[str, Any], key: str
) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        make(kind, **settings)
    assert caught.value.param == key
    assert key in caught.value.message


@pytest.mark.parametrize("key", ["sk-1234\n", "sk-…", "“sk-1234”"])
def test_a_key_that_no_header_can_hold_is_named_and_not_shown(key: str) -> None:
    with pytest.raises(errors.ConfigError, match="Authorization") as caught:
        OpenAI(ProviderSettings("acme", "openai", api_key=key))
    assert key not in caught.value.message


def test_many_calls_share_few_connections(make: Make, upstream: Upstream) -> None:
    provider = make()
    for _ in itertools.repeat(None, 20):
        provider.generate(call(messages=HELLO))
    assert upstream.connections == 1
