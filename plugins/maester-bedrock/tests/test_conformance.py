"""Maester's own kit for providers."""

from __future__ import annotations

from collections.abc import Callable

from bedrock_server import CUT, BedrockServer, Reply, Wait, converse, error, stream
from frames import answer
from maester_bedrock import Bedrock

from maester import errors
from maester.testing import Failure, check_provider

MODEL = "anthropic.claude-haiku-4-5-20251001-v1:0"


def test_it_keeps_every_rule(server: BedrockServer, bedrock: Callable[..., Bedrock]) -> None:
    whole = converse("Hello there.")
    pieces = stream(answer("Hello ", "there."))
    server.respond_by_path({"/converse": whole, "/converse-stream": pieces})

    def failing(*replies: Reply) -> Callable[[], None]:
        return lambda: server.respond(*replies)

    silent = Reply(200, [], before=5)
    checked = check_provider(
        bedrock(),
        model=MODEL,
        parameters={"max_tokens": 20},
        secrets=["secret-of-nobody"],
        failures=[
            Failure("credential", errors.ProviderAuth, failing(error(403, "AccessDeniedException"))),
            Failure("rate limit", errors.ProviderRateLimited, failing(error(429, "ThrottlingException"))),
            Failure("rejected", errors.ProviderRejected, failing(error(400, "ValidationException"))),
            Failure("down", errors.ProviderUnavailable, failing(error(503, "ServiceUnavailableException"))),
            Failure("slow", errors.ProviderTimeout, failing(silent), deadline_s=0.3),
            Failure(
                "stalled",
                errors.ProviderTimeout,
                failing(stream([pieces.pieces[0], Wait(5)])),
                deadline_s=0.3,
            ),
            Failure("cut", errors.BadProviderResponse, failing(stream([pieces.pieces[0], CUT]))),
        ],
    )
    assert len(checked) > 5
