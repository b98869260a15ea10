"""What schemathesis is told beside the document: a model that there is on a fresh installation.

Unknown models answer 404 before anything else is looked at; and what only some provider could make
sense of is for that provider to refuse, so unknown fields are left out.
"""

from __future__ import annotations

from typing import Any

import schemathesis

from maester.web.schemas import MAX_MODEL

_TAKEN = frozenset(
    {
        *("model", "messages", "prompt", "input", "stream", "stream_options", "max_tokens", "temperature"),
        *("top_p", "seed", "stop", "n", "presence_penalty", "frequency_penalty", "logit_bias", "tools"),
        *("user", "safety_identifier", "metadata", "maester", "evaluate", "tags", "on_failure", "session"),
        *("encoding_format", "system", "stop_sequences", "parallel_tool_calls"),
    }
)
"""What the echo provider takes."""


@schemathesis.hook
def map_body(context: Any, body: Any) -> Any:
    """A body for a model that there is, of fields that its provider takes."""
    if not isinstance(body, dict):
        return body
    if "requests" in body or "file" in body or body.get("kind") == "evaluate":  # a job
        requests = body.get("requests")
        if isinstance(requests, list):
            return {**body, "requests": [_mapped_request(each) for each in requests]}
        return body
    return _mapped(body)


def _mapped_request(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    if isinstance(value.get("body"), dict):
        return {**value, "body": _mapped(value["body"])}
    return _mapped(value)


def _mapped(body: dict[str, Any]) -> dict[str, Any]:
    model = body.get("model")
    if not isinstance(model, str) or not 0 < len(model) <= MAX_MODEL:  # wrong on purpose
        return body
    mapped = {name: value for name, value in body.items() if name in _TAKEN}
    mapped["model"] = "echo"
    if mapped.get("max_tokens") == 0:
        mapped["max_tokens"] = 1  # what the echo provider can do
    for asking in (mapped, mapped.get("maester")):
        # What is deferred cannot block, which the document has no words for.
        if isinstance(asking, dict) and "deferred" in str(asking.get("evaluate")):
            asking.pop("on_failure", None)
    return mapped
