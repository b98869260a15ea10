"""Through the whole of Maester: configuration, routing, price, record."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from bedrock_server import REQUEST_ID, BedrockServer, converse, error, stream
from frames import USAGE, answer

import maester
from maester import errors

Build = Callable[..., maester.Runtime]

REGIONAL = "eu.anthropic.claude-haiku-4-5-20251001-v1:0"
CACHED = {**USAGE, "cacheReadInputTokens": 10_000, "cacheWriteInputTokens": 2_000}
CACHED["cacheDetails"] = [{"ttl": "1h", "inputTokens": 500}]


def asking(model: str, **more: Any) -> maester.Request:
    return maester.Request(model=model, messages=[{"role": "user", "content": "Say hello."}], **more)


def prices(inference: maester.Inference) -> dict[str, Decimal]:
    """What the book charges for a token of each unit, as the record has it."""
    assert inference.cost is not None
    assert inference.cost.priced, inference.cost.unpriced
    assert not inference.cost.estimated
    return {line.unit: line.unit_price_usd for line in inference.cost.lines}


def test_an_answer_is_charged_at_the_prices_of_aws(server: BedrockServer, runtime: Build) -> None:
    server.respond(converse(usage=CACHED))
    inference = runtime().execute(asking(f"bedrock/{REGIONAL}")).raise_for_error()
    cost = inference.cost
    assert cost is not None
    paid = prices(inference)
    # Regional profiles of this model are a tenth dearer than Anthropic's own 1 and 5 USD a million.
    assert (paid["input"], paid["output"]) == (Decimal("0.0000011"), Decimal("0.0000055"))
    counted = {line.unit: line.quantity for line in cost.lines}
    assert counted == {
        "input": 1000,
        "cache_read": 10_000,
        "cache_write": 1500,
        "cache_write_1h": 500,
        "output": 200,
    }
    assert cost.total_usd == sum(paid[unit] * count for unit, count in counted.items())
    assert cost.total_usd > 0


def test_a_stream_costs_what_the_whole_answer_costs(server: BedrockServer, runtime: Build) -> None:
    server.respond(converse(usage=CACHED), stream(answer("Hel", "lo", usage=CACHED)))
    running = runtime()
    whole = running.execute(asking(f"bedrock/{REGIONAL}")).raise_for_error()
    streamed = running.stream(asking(f"bedrock/{REGIONAL}", stream=True))
    list(streamed)
    assert streamed.inference.error is None
    assert streamed.inference.response is not None
    assert streamed.inference.response.output == "Hello"
    assert streamed.inference.cost is not None
    assert whole.cost is not None
    assert streamed.inference.cost.total_usd == whole.cost.total_usd
    assert prices(streamed.inference) == prices(whole)


@pytest.mark.parametrize(
    "arn",
    [
        f"arn:aws:bedrock:eu-central-1:123456789012:inference-profile/{REGIONAL}",
        "arn:aws:bedrock:eu-central-1::foundation-model/anthropic.claude-haiku-4-5-20251001-v1:0",
    ],
)
def test_an_arn_is_charged_as_the_model_in_it(server: BedrockServer, runtime: Build, arn: str) -> None:
    inference = runtime().execute(asking(f"bedrock/{arn}")).raise_for_error()
    assert prices(inference)["input"] == Decimal("0.0000011")
    assert arn.rpartition("/")[2].split(":")[0] in server.requests[-1].path


def test_a_model_without_a_price_costs_an_unknown_amount(runtime: Build) -> None:
    inference = runtime().execute(asking("bedrock/somebody.their-model-v1")).raise_for_error()
    assert inference.cost is not None
    assert (inference.cost.total_usd, inference.cost.priced) == (None, False)


def test_a_price_of_the_configuration_is_found_for_what_only_the_account_knows(runtime: Build) -> None:
    arn = "arn:aws:bedrock:eu-central-1:123456789012:application-inference-profile/abc123"
    price = f'[[prices]]\nprovider = "bedrock"\nmodel = "{arn}"\ninput = "1"\noutput = "2"\n'
    inference = runtime(price).execute(asking(f"bedrock/{arn}")).raise_for_error()
    assert prices(inference) == {"input": Decimal("0.000001"), "output": Decimal("0.000002")}


def test_it_is_on_record(server: BedrockServer, runtime: Build) -> None:
    server.respond(converse("A word"), error(429, "ThrottlingException"))
    running = runtime()
    answered = running.execute(asking(f"bedrock/{REGIONAL}"))
    refused = running.execute(asking(f"bedrock/{REGIONAL}"))
    assert isinstance(refused.error, errors.ProviderRateLimited)
    assert running.flush()
    record = running.ledger.get(answered.request_id)
    assert record is not None
    (attempt,) = record["attempts"]
    assert (attempt["provider"], attempt["family"], attempt["response_id"]) == ("bedrock", "aws", REQUEST_ID)
    record = running.ledger.get(refused.request_id)
    assert record is not None
    said = record["attempts"][0]["error"]["provider"]
    assert said["code"] == "ThrottlingException"
    assert said["request_id"] == REQUEST_ID


def test_only_models_of_the_configuration_are_listed_and_found_by_their_bare_name(runtime: Build) -> None:
    running = runtime(f'models = ["{REGIONAL}"]\n')
    listed = [name for name, provider in running.router.models() if provider == "bedrock"]
    assert listed == [f"bedrock/{REGIONAL}"]
    assert running.router.resolve(REGIONAL).name == "bedrock"
    with pytest.raises(errors.UnknownModel):
        running.router.resolve("anthropic.claude-haiku-4-5-20251001-v1:0")


@pytest.mark.parametrize(
    ("section", "key"),
    [
        ("connect_timeout_s = 0\n", "bedrock.connect_timeout_s"),
        ("max_connections = 0\n", "bedrock.max_connections"),
        ('regoin = "eu-central-1"\n', "bedrock.regoin"),
        ("[bedrock.guardrail]\nversion = '1'\n", "bedrock.guardrail.identifier"),
        ('[bedrock.guardrail]\nidentifier = "g"\ntrace = "loud"\n', "bedrock.guardrail.trace"),
    ],
)
def test_a_wrong_setting_is_named(runtime: Build, section: str, key: str) -> None:
    with pytest.raises(errors.ConfigError) as caught:
        runtime(section)
    assert [problem["key"] for problem in caught.value.problems] == [key]


def test_the_token_of_the_configuration_is_a_secret(runtime: Build) -> None:
    settings = runtime('bearer_token = "ABSK-nobody-knows"\n').settings
    assert "ABSK-nobody-knows" in settings.secrets
    assert "ABSK-nobody-knows" not in repr(settings)


def test_a_guardrail_of_the_configuration_is_applied(server: BedrockServer, runtime: Build) -> None:
    running = runtime('[bedrock.guardrail]\nidentifier = "g1"\n')
    running.execute(asking("bedrock/m")).raise_for_error()
    assert server.requests[-1].body["guardrailConfig"] == {
        "guardrailIdentifier": "g1",
        "guardrailVersion": "DRAFT",
        "trace": "disabled",
    }
