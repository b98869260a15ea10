"""Answers to judge, made of a text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maester.model import Request, Response, Sample, Usage


def sample(
    output: str,
    *,
    prompt: str = "Say something.",
    model: str = "fake",
    body: Mapping[str, Any] | None = None,
    **request: Any,
) -> Sample:
    """A request and its answer, for an evaluator to judge.

    :param body: the answer in OpenAI's wire format; made of the output unless given.
    :param request: other fields of `maester.Request`.
    """
    if body is None:
        message = {"role": "assistant", "content": output, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        body = {
            "id": "chatcmpl-test",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": model,
            "choices": [choice],
        }
    given = {"messages": [{"role": "user", "content": prompt}], **request}
    return Sample(
        Request(model, **given), Response(model, output, "stop", Usage(10, 5), "chatcmpl-test", body)
    )
