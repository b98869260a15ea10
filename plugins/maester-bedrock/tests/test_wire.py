"""The exchange itself: what is sent, what comes of answers good and bad, and how long anything takes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bedrock_server import CUT, REQUEST_ID, BedrockServer, Reply, Wait, converse, error, reply, stream
from botocore.eventstream import EventStreamBuffer
from frames import answer, event, exception
from maester_bedrock import Bedrock

import maester
from maester import errors

Make = Callable[..., Bedrock]
Ask = Callable[..., maester.Call]


def text_of(chunks: list[maester.Chunk]) -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk.body["choices"]]
    return "".join(delta.get("content") or "" for delta in deltas)


def test_botocore_reads_the_frames_that_these_tests_write() -> None:
    buffer = EventStreamBuffer()
    buffer.add_data(b"".join(answer("Hel", "lo")))
    read = list(buffer)
    assert len(read) == 6
    assert read[1].payload == b'{"contentBlockIndex": 0, "delta": {"text": "Hel"}}'


def test_a_request_is_signed_and_answered(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    response = bedrock().generate(call(max_tokens=5, headers={"traceparent": "00-ab-cd-01"}))
    assert (response.output, response.finish_reason, response.id) == ("Hello", "stop", REQUEST_ID)
    assert response.usage == maester.Usage(1000, 200)
    (received,) = server.requests
    assert received.path == "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/converse"
    assert received.body == {
        "messages": [{"role": "user", "content": [{"text": "Say hello."}]}],
        "inferenceConfig": {"maxTokens": 5},
    }
    signed = received.headers["authorization"]
    form = r"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/\d{8}/eu-central-1/bedrock/aws4_request, "
    form += r"SignedHeaders=([a-z0-9;-]+), Signature=[0-9a-f]{64}"
    found = re.fullmatch(form, signed)
    assert found is not None
    assert "traceparent" not in found[1].split(";")
    assert received.headers["traceparent"] == "00-ab-cd-01"
    assert "maester/" in received.headers["user-agent"]


def test_a_bearer_token_of_the_environment_goes_before_a_signature(
    tls_server: BedrockServer, bedrock: Make, call: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "key-of-the-environment")
    bedrock(endpoint_url=tls_server.url).generate(call())
    assert tls_server.requests[-1].headers["authorization"] == "Bearer key-of-the-environment"


def test_a_bearer_token_of_the_configuration_goes_before_all(
    tls_server: BedrockServer, bedrock: Make, call: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "key-of-the-environment")
    bedrock(endpoint_url=tls_server.url, bearer_token="key-of-the-configuration").generate(call())
    assert tls_server.requests[-1].headers["authorization"] == "Bearer key-of-the-configuration"


def test_a_certificate_that_nobody_trusts_is_refused(
    tls_server: BedrockServer, bedrock: Make, call: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_CA_BUNDLE")
    with pytest.raises(errors.ProviderUnavailable, match="certificate verify failed"):
        bedrock(endpoint_url=tls_server.url).generate(call())
    assert tls_server.requests == []


def test_without_any_credential_the_error_says_what_to_set(
    bedrock: Make, call: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    with pytest.raises(errors.ProviderAuth, match="Set AWS_BEARER_TOKEN_BEDROCK, or credentials"):
        bedrock().generate(call())


def test_the_region_of_the_environment_is_found_under_both_names(
    server: BedrockServer, bedrock: Make, call: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    bedrock().generate(call())
    monkeypatch.setenv("AWS_REGION", "us-west-2")
    bedrock().generate(call())
    bedrock(region="sa-east-1").generate(call())
    regions = [request.headers["authorization"].split("/")[2] for request in server.requests]
    assert regions == ["eu-central-1", "us-west-2", "sa-east-1"]


def test_without_a_region_the_error_says_what_to_set(
    bedrock: Make, call: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    with pytest.raises(errors.ProviderError, match="set region in \\[bedrock\\]") as caught:
        bedrock(endpoint_url=None).generate(call())
    assert not caught.value.retryable


def test_a_stream_comes_in_chunks_and_reports_usage_last(
    server: BedrockServer, bedrock: Make, call: Ask
) -> None:
    server.respond(stream(answer("Hel", "lo")))
    chunks = list(bedrock().stream(call()))
    assert server.requests[-1].path.endswith("/converse-stream")
    assert text_of(chunks) == "Hello"
    assert [chunk.usage for chunk in chunks] == [None] * 4 + [maester.Usage(1000, 200)]
    assert chunks[-1].usage_only
    assert chunks[-2].body["choices"][0]["finish_reason"] == "stop"
    assert {chunk.body["id"] for chunk in chunks} == {REQUEST_ID}


def test_connections_are_kept_also_after_streams_and_errors(
    server: BedrockServer, bedrock: Make, call: Ask
) -> None:
    server.respond(stream(answer("Hello")), error(429, "ThrottlingException"), converse())
    provider = bedrock()
    list(provider.stream(call()))
    with pytest.raises(errors.ProviderRateLimited):
        provider.generate(call())
    provider.generate(call())
    assert len({received.connection for received in server.requests}) == 1


def test_head_and_body_of_a_request_do_not_wait_for_each_other(
    server: BedrockServer, bedrock: Make, call: Ask
) -> None:
    provider = bedrock()
    took = []
    for _ in range(20):
        began = time.perf_counter()
        provider.generate(call())
        took.append(time.perf_counter() - began)
    # With Nagle's algorithm on, even the fastest waits 40 ms for a delayed acknowledgement.
    assert min(took[1:]) < 0.035


@pytest.mark.parametrize("operation", ["generate", "stream"])
@pytest.mark.parametrize(
    ("status", "code", "expected"),
    [
        (403, "AccessDeniedException", errors.ProviderAuth),
        (403, "UnrecognizedClientException", errors.ProviderAuth),
        (403, "ExpiredTokenException", errors.ProviderAuth),
        (403, "InvalidSignatureException", errors.ProviderAuth),
        (429, "ThrottlingException", errors.ProviderRateLimited),
        (400, "ServiceQuotaExceededException", errors.ProviderRateLimited),
        (400, "ValidationException", errors.ProviderRejected),
        (404, "ResourceNotFoundException", errors.ProviderRejected),
        (408, "ModelTimeoutException", errors.ProviderTimeout),
        (424, "ModelErrorException", errors.ProviderUnavailable),
        (429, "ModelNotReadyException", errors.ProviderUnavailable),
        (500, "InternalServerException", errors.ProviderUnavailable),
        (503, "ServiceUnavailableException", errors.ProviderUnavailable),
        (418, "SomethingNewException", errors.ProviderRejected),
        (504, "SomethingNewException", errors.ProviderTimeout),
    ],
)
def test_errors_have_their_class_and_are_not_retried(
    server: BedrockServer, bedrock: Make, call: Ask, operation: str, status: int, code: str, expected: Any
) -> None:
    server.respond(error(status, code, retry_after="7"))
    with pytest.raises(errors.ProviderError) as caught:
        list(getattr(bedrock(), operation)(call()))
    raised = caught.value
    assert type(raised) is expected
    assert (raised.status, raised.provider_code, raised.provider_message) == (status, code, "It says why.")
    assert (raised.provider_request_id, raised.retry_after_s) == (REQUEST_ID, 7.0)
    assert len(server.requests) == 1
    if expected is errors.ProviderRejected:
        assert raised.http_status == status


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("throttlingException", errors.ProviderRateLimited),
        ("modelStreamErrorException", errors.ProviderUnavailable),
        ("internalServerException", errors.ProviderUnavailable),
        ("serviceUnavailableException", errors.ProviderUnavailable),
        ("validationException", errors.ProviderRejected),
    ],
)
def test_exceptions_inside_a_stream_have_their_class(
    server: BedrockServer, bedrock: Make, call: Ask, kind: str, expected: Any
) -> None:
    server.respond(stream([*answer("Hel")[:2], exception(kind, "It says why.")]))
    chunks: list[maester.Chunk] = []
    with pytest.raises(errors.ProviderError) as caught:
        chunks.extend(bedrock().stream(call()))
    assert type(caught.value) is expected
    assert caught.value.provider_request_id == REQUEST_ID
    assert caught.value.provider_message == "It says why."


def flipped(frame: bytes) -> bytes:
    return frame[:-6] + bytes([frame[-6] ^ 1]) + frame[-5:]


@pytest.mark.parametrize(
    "pieces",
    [
        pytest.param(answer("Hello")[:-2], id="no messageStop"),
        pytest.param([], id="empty"),
        pytest.param([*answer("Hello")[:2], CUT], id="connection cut"),
        pytest.param([answer("Hello")[0], answer("Hello")[1][:-9], CUT], id="frame cut"),
        pytest.param([answer("Hello")[0], answer("Hello")[1][:-9]], id="frame truncated"),
        pytest.param([answer("Hello")[0], flipped(answer("Hello")[1])], id="wrong checksum"),
        pytest.param([b"{}" * 40], id="no frames"),
        pytest.param(answer("Hello")[1:], id="no messageStart"),
        pytest.param(
            [event("messageStart", {"role": "assistant"}), event("messageStop", {})], id="no reason"
        ),
    ],
)
def test_a_broken_stream_is_no_answer(server: BedrockServer, bedrock: Make, call: Ask, pieces: Any) -> None:
    server.respond(stream(pieces))
    with pytest.raises(errors.BadProviderResponse):
        list(bedrock().stream(call()))


@pytest.mark.parametrize(
    "broken",
    [
        Reply(200, [b'{"output": {"mess', CUT]),
        Reply(200, [b'{"output": {"mess']),
        Reply(200, [b"<html>"], {"content-type": "text/html"}),
        reply(200, {"stopReason": "end_turn"}),
        reply(200, {"output": {"message": {"content": [{"text": "x"}]}}}),
        converse(usage={"inputTokens": -1}),
    ],
)
def test_a_broken_answer_is_no_answer(server: BedrockServer, bedrock: Make, call: Ask, broken: Reply) -> None:
    server.respond(broken)
    with pytest.raises(errors.BadProviderResponse):
        bedrock().generate(call())


def test_nobody_listening_is_unavailable(bedrock: Make, call: Ask) -> None:
    with pytest.raises(errors.ProviderUnavailable):
        bedrock(endpoint_url="http://127.0.0.1:9").generate(call())


@pytest.mark.parametrize("operation", ["generate", "stream"])
@pytest.mark.parametrize(
    ("silent", "options", "said"),
    [
        (Reply(200, [], before=5), {"first_byte_timeout_s": 0.2}, "first byte timeout"),
        (stream([answer("x")[0], Wait(5)]), {"idle_timeout_s": 0.2}, "idle timeout"),
        (stream([answer("x")[0], Wait(5)]), {"total_timeout_s": 0.2}, "total timeout"),
        (Reply(200, [], before=5), {"total_timeout_s": 0.2}, "total timeout"),
        (stream([answer("x")[0], *[b"\x00", Wait(0.05)] * 80]), {"total_timeout_s": 0.3}, "total timeout"),
    ],
)
def test_every_limit_in_time_holds(
    server: BedrockServer, bedrock: Make, call: Ask, operation: str, silent: Reply, options: Any, said: str
) -> None:
    server.respond(silent)
    provider = bedrock(**options)
    provider._connected()  # Making the client takes time too.
    began = time.monotonic()
    with pytest.raises(errors.ProviderTimeout, match=said):
        list(getattr(provider, operation)(call()))
    assert time.monotonic() - began < 2.0
    assert server.requests[-1].hung_up.wait(2)


@pytest.mark.parametrize("operation", ["generate", "stream"])
def test_the_deadline_of_a_call_goes_before_the_limits_of_the_client(
    server: BedrockServer, bedrock: Make, call: Ask, operation: str
) -> None:
    provider = bedrock()
    provider._connected()
    for silent in (Reply(200, [], before=5), stream([answer("x")[0], Wait(5)])):
        server.respond(silent)
        began = time.monotonic()
        with pytest.raises(errors.ProviderTimeout, match="total timeout"):
            list(getattr(provider, operation)(call(deadline=time.monotonic() + 0.2)))
        assert time.monotonic() - began < 2.0


def test_a_deadline_that_has_passed_asks_nobody(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    with pytest.raises(errors.ProviderTimeout):
        bedrock().generate(call(deadline=time.monotonic() - 1))
    assert server.requests == []


def test_closing_a_stream_midway_hangs_up(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    server.respond(stream([*answer("Hello")[:2], Wait(5)]))
    chunks = bedrock().stream(call())
    next(chunks)
    chunks.close()  # type: ignore[attr-defined]
    assert server.requests[-1].hung_up.wait(2)


def test_threads_share_one_client(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    provider = bedrock()
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda: answers.append(provider.generate(call()).output)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert answers == ["Hello"] * 8


def test_a_forked_child_has_a_client_of_its_own(server: BedrockServer, bedrock: Make, call: Ask) -> None:
    provider = bedrock()
    provider.generate(call())
    child = os.fork()
    if child == 0:
        os._exit(0 if provider.generate(call()).output == "Hello" else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    provider.generate(call())
    first, childs, second = (received.connection for received in server.requests)
    assert first == second != childs


_GREENLETS = """
from gevent import monkey
monkey.patch_all()
import sys, time
import gevent, maester
from maester_bedrock import Bedrock, Options

provider = Bedrock(Options(endpoint_url=sys.argv[1], region="eu-central-1"))
request = maester.Request(model="bedrock/m", messages=[{"role": "user", "content": "x"}])
def ask():
    return len(list(provider.stream(maester.Call("m", request))))
ask()
began = time.monotonic()
asked = [gevent.spawn(ask) for _ in range(10)]
gevent.joinall(asked, raise_error=True)
print([task.value for task in asked] == [4] * 10, time.monotonic() - began < 2.5)
"""


def test_greenlets_wait_side_by_side(server: BedrockServer) -> None:
    whole = answer("Hello")
    server.respond(stream([*whole[:2], Wait(0.3), *whole[2:]]))
    done = subprocess.run(
        [sys.executable, "-c", _GREENLETS, server.url],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parent,
    )
    assert done.stdout.split() == ["True", "True"], done.stderr
