"""OpenAI's own SDK against the real service."""

from __future__ import annotations

import json
from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI
from openai.types.chat import ChatCompletionToolParam

from maester.runtime import Runtime
from support.llama import MODEL
from support.server import Server
from support.upstream import Upstream, embeddings, error, stall, stream_cut, stream_error

HELLO = [{"role": "user", "content": "one two three"}]
TOOL: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Looks something up.",
        "parameters": {
            "type": "object",
            "properties": {"word": {"type": "string"}},
            "required": ["word"],
        },
    },
}


@pytest.fixture(scope="module")
def sdk(server: Server) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=30) as client:
        yield client


def test_chat(sdk: OpenAI, server: Server) -> None:
    answer = sdk.chat.completions.create(model="echo", messages=HELLO, max_tokens=2)
    assert answer.choices[0].message.content == "one two"
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.total_tokens == 5
    assert answer._request_id == answer.maester["request_id"]
    assert server.inference(answer.id)["request_id"] == answer._request_id


def test_stream_without_usage(sdk: OpenAI) -> None:
    with sdk.chat.completions.create(model="echo", messages=HELLO, stream=True) as stream:
        chunks = list(stream)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "one two three"
    assert all(chunk.usage is None for chunk in chunks)
    assert all("usage" not in chunk.model_fields_set for chunk in chunks)


def test_stream_with_usage(sdk: OpenAI) -> None:
    with sdk.chat.completions.create(
        model="echo", messages=HELLO, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *pieces, last = list(stream)
    assert all("usage" in chunk.model_fields_set and chunk.usage is None for chunk in pieces)
    assert last.choices == []
    assert last.usage is not None
    assert last.usage.total_tokens == 6


def test_tools(sdk: OpenAI) -> None:
    answer = sdk.chat.completions.create(
        model="echo",
        messages=HELLO,
        tools=[TOOL],
        tool_choice={"type": "function", "function": {"name": "look_up"}},
    )
    assert answer.choices[0].finish_reason == "tool_calls"
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.type == "function"
    assert call.function.name == "look_up"
    with sdk.chat.completions.stream(
        model="echo", messages=HELLO, tools=[TOOL], tool_choice="required"
    ) as stream:
        final = stream.get_final_completion()
    (streamed,) = final.choices[0].message.tool_calls or []
    assert streamed.function.arguments == call.function.arguments
    again = sdk.chat.completions.create(
        model="echo",
        messages=[
            *HELLO,
            answer.choices[0].message.to_dict(),
            {"role": "tool", "tool_call_id": call.id, "content": "found"},
        ],
    )
    assert again.choices[0].finish_reason == "stop"


def test_embeddings(sdk: OpenAI, misbehaving: Upstream) -> None:
    answer = sdk.embeddings.create(model="echo", input=["one", "two"], dimensions=4)
    assert [len(item.embedding) for item in answer.data] == [4, 4]
    assert answer.usage.prompt_tokens == 2
    misbehaving.route("/v1/embeddings", embeddings([[0.0, 1.0]]))
    assert sdk.embeddings.create(model="up/e", input="x", encoding_format="float").data[0].embedding == [
        0.0,
        1.0,
    ]


def test_models(sdk: OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert {"careful", "strict", "echo/echo"} <= set(names)
    assert len(names) == len(set(names))
    assert sdk.models.retrieve("echo/echo").owned_by == "echo"
    with pytest.raises(openai.NotFoundError):
        sdk.models.retrieve("nope")


def test_headers_that_only_maester_sends(sdk: OpenAI) -> None:
    raw = sdk.chat.completions.with_raw_response.create(
        model="echo/priced", messages=HELLO, extra_body={"maester": {"evaluate": ["non_empty"]}}
    )
    assert raw.headers["x-maester-cost-usd"] == "0.000009"
    assert raw.headers["x-maester-evaluation"] == "passed"
    assert raw.parse().maester["evaluation"]["passed"] is True


@pytest.mark.parametrize(
    ("model", "raised", "code"),
    [
        ("up/e400", openai.BadRequestError, "provider_rejected"),
        ("up/e401", openai.InternalServerError, "provider_auth"),
        ("up/e404", openai.NotFoundError, "provider_rejected"),
        ("up/e409", openai.ConflictError, "provider_rejected"),
        ("up/e422", openai.UnprocessableEntityError, "provider_rejected"),
        ("up/e429", openai.RateLimitError, "provider_rate_limited"),
        ("up/e500", openai.InternalServerError, "provider_unavailable"),
        ("up/e503", openai.InternalServerError, "provider_unavailable"),
        ("nope", openai.NotFoundError, "model_not_found"),
        ("strict", openai.UnprocessableEntityError, "evaluation_failed"),
    ],
)
def test_every_error_class(
    sdk: OpenAI, misbehaving: Upstream, model: str, raised: type[openai.APIStatusError], code: str
) -> None:
    for status in (400, 401, 404, 409, 422, 429, 500, 503):
        misbehaving.by_model[f"e{status}"] = error(status)
    for stream in (False, True):
        if model == "strict" and stream:
            continue
        with pytest.raises(raised) as caught:
            sdk.chat.completions.create(model=model, messages=HELLO, stream=stream)
        assert caught.value.code == code
        assert caught.value.request_id


def test_a_wrong_request_is_a_bad_request(sdk: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model="echo", messages=[])
    assert caught.value.param == "messages"


def test_what_cannot_get_better_is_not_retried(server: Server, misbehaving: Upstream) -> None:
    misbehaving.by_model["conflict"] = error(409)
    before = len(misbehaving.requests)
    with (
        OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=2) as client,
        pytest.raises(openai.ConflictError),
    ):
        client.chat.completions.create(model="up/conflict", messages=HELLO)
    assert len(misbehaving.requests) == before + 1


def test_keys(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("keys")
    with Runtime.build(environ={"MAESTER_DATA_DIR": str(folder / "data")}) as runtime:
        _, secret = runtime.keys.create("some", models=["echo/small"])
    with Server(folder) as own:
        address = f"{own.url}/v1"
        with (
            OpenAI(base_url=address, api_key="mk_wrong", max_retries=0) as client,
            pytest.raises(openai.AuthenticationError),
        ):
            client.chat.completions.create(model="echo", messages=HELLO)
        with OpenAI(base_url=address, api_key=secret, max_retries=0) as client:
            assert client.chat.completions.create(model="echo/small", messages=HELLO).choices
            with pytest.raises(openai.PermissionDeniedError) as caught:
                client.chat.completions.create(model="echo", messages=HELLO)
            assert caught.value.code == "forbidden"


@pytest.mark.parametrize("reply", [stream_cut(), stream_error()], ids=["cut", "error"])
def test_a_stream_broken_by_the_provider_raises(
    sdk: OpenAI, server: Server, misbehaving: Upstream, reply: object
) -> None:
    misbehaving.by_model["breaks"] = reply  # type: ignore[assignment]
    stream = sdk.chat.completions.create(model="up/breaks", messages=HELLO, stream=True)
    with pytest.raises(openai.APIError):
        list(stream)
    assert server.inference(stream.response.headers["x-request-id"])["status"] == "error"


def test_a_client_that_hangs_up_is_recorded_as_cancelled(sdk: OpenAI, server: Server) -> None:
    words = " ".join(["word"] * 500)
    stream = sdk.chat.completions.create(
        model="echo/priced",
        messages=[{"role": "user", "content": words}],
        stream=True,
        extra_body={"echo": {"chunk_delay_s": 0.02}},
    )
    next(chunk for chunk in stream if chunk.choices and chunk.choices[0].delta.content)
    request_id = stream.response.headers["x-request-id"]
    stream.close()
    record = server.inference(request_id)
    assert record["status"] == "cancelled"
    assert record["error"]["code"] == "cancelled"
    assert record["attempts"][0]["status"] == "cancelled"
    assert record["usage"]["estimated"] is True
    assert 0 < record["usage"]["output_tokens"] < 500
    assert record["cost"]["estimated"] is True


def test_a_stalled_provider_times_out(sdk: OpenAI, misbehaving: Upstream) -> None:
    misbehaving.by_model["stalls"] = stall()
    with pytest.raises(openai.InternalServerError) as caught:
        sdk.chat.completions.create(
            model="up/stalls", messages=HELLO, extra_headers={"x-maester-timeout-ms": "300"}
        )
    assert caught.value.code == "provider_timeout"
    assert caught.value.status_code == 504


@pytest.fixture(scope="module")
def local(
    llama: str, llama_embeddings: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[OpenAI, Server]]:
    """The service over real llama.cpp servers."""
    config = "".join(
        f'[providers.{name}]\ntype = "openai"\nbase_url = "{url}"\napi_key = "none"\n'
        for name, url in (("local", llama), ("vectors", llama_embeddings))
    )
    with (
        Server(tmp_path_factory.mktemp("llama"), config=config) as own,
        OpenAI(base_url=f"{own.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client, own


def test_a_real_model_chats_and_its_cache_is_counted(local: tuple[OpenAI, Server]) -> None:
    client, own = local
    asked = {"model": f"local/{MODEL}", "messages": HELLO, "max_tokens": 8, "temperature": 0}
    answer = client.chat.completions.create(**asked)
    again = client.chat.completions.create(**asked)
    assert answer.usage is not None
    assert again.usage is not None
    assert answer.usage.completion_tokens == 8
    assert again.choices[0].message.content == answer.choices[0].message.content
    assert again.usage.prompt_tokens_details is not None
    usage = own.inference(str(again._request_id))["usage"]
    assert usage["input_tokens"] == again.usage.prompt_tokens
    assert usage["cache_read_tokens"] == again.usage.prompt_tokens_details.cached_tokens
    assert usage["cache_read_tokens"] > 0


def test_a_real_model_streams(local: tuple[OpenAI, Server]) -> None:
    client, _ = local
    asked = {"model": f"local/{MODEL}", "messages": HELLO, "max_tokens": 8, "temperature": 0}
    answer = client.chat.completions.create(**asked)
    with client.chat.completions.create(
        **asked, stream=True, stream_options={"include_usage": True}
    ) as stream:
        *pieces, last = list(stream)
    said = "".join(piece.choices[0].delta.content or "" for piece in pieces)
    assert said == answer.choices[0].message.content
    assert last.usage is not None
    assert last.usage.completion_tokens == 8


def test_a_real_model_keeps_to_a_schema(local: tuple[OpenAI, Server]) -> None:
    client, _ = local
    schema = {
        "type": "object",
        "properties": {"yes": {"type": "boolean"}},
        "required": ["yes"],
        "additionalProperties": False,
    }
    answer = client.chat.completions.create(
        model=f"local/{MODEL}",
        messages=HELLO,
        max_tokens=200,
        temperature=0,
        response_format={"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}},
    )
    assert answer.choices[0].finish_reason == "stop"
    assert set(json.loads(answer.choices[0].message.content or "")) == {"yes"}


def test_a_real_model_makes_embeddings(local: tuple[OpenAI, Server]) -> None:
    client, own = local
    answer = client.embeddings.create(model=f"vectors/{MODEL}", input=["one", "two"])
    assert len(answer.data) == 2
    assert len(answer.data[0].embedding) == len(answer.data[1].embedding) > 1
    assert own.inference(str(answer.maester["request_id"]))["operation"] == "embeddings"
