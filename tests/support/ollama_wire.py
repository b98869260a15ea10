"""One answer as Ollama sends it: whole, and in lines that come to the same."""

from __future__ import annotations

from typing import Any

LINES: list[dict[str, Any]] = [
    {"model": "llama3.2", "message": {"role": "assistant", "content": "", "thinking": "Hm."}, "done": False},
    {
        "model": "llama3.2",
        "message": {"role": "assistant", "content": "It "},
        "logprobs": [{"token": "It ", "logprob": -0.5, "bytes": [73], "top_logprobs": []}],
        "done": False,
    },
    {"model": "llama3.2", "message": {"role": "assistant", "content": "is."}, "done": False},
    {
        "model": "llama3.2",
        "message": {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": {"a": 1}}}],
        },
        "done": False,
    },
    {
        "model": "llama3.2",
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        "total_duration": 5,
        "prompt_eval_count": 12,
        "eval_count": 7,
    },
]


WHOLE: dict[str, Any] = {
    **LINES[-1],
    "message": {
        "role": "assistant",
        "content": "It is.",
        "thinking": "Hm.",
        "tool_calls": [{"id": "call_1", "function": {"name": "f", "arguments": {"a": 1}}}],
    },
    "logprobs": LINES[1]["logprobs"],
}
