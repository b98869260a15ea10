"""One answer as Gemini sends it: whole, and in pieces that come to the same."""

from __future__ import annotations

from typing import Any

from maester.model import Usage

BODY: dict[str, Any] = {
    "responseId": "resp_1",
    "modelVersion": "gemini-3-pro-001",
    "candidates": [
        {
            "index": 0,
            "finishReason": "STOP",
            "content": {
                "role": "model",
                "parts": [
                    {"text": "Hm. ", "thought": True},
                    {"text": "It is "},
                    {"text": "sunny."},
                    {
                        "functionCall": {"id": "fc1", "name": "weather", "args": {"city": "Brno"}},
                        "thoughtSignature": "sig",
                    },
                    {"inlineData": {"mimeType": "image/png", "data": "AA=="}},
                    {"executableCode": {"language": "PYTHON", "code": "1"}},
                ],
            },
            "logprobsResult": {
                "chosenCandidates": [{"token": "It", "logProbability": -0.5}],
                "topCandidates": [{"candidates": [{"token": "It", "logProbability": -0.5}]}],
            },
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 40,
        "candidatesTokenCount": 20,
        "thoughtsTokenCount": 30,
        "toolUsePromptTokenCount": 7,
        "totalTokenCount": 157,
        "promptTokensDetails": [
            {"modality": "TEXT", "tokenCount": 60},
            {"modality": "AUDIO", "tokenCount": 30},
            {"modality": "IMAGE", "tokenCount": 10},
        ],
        "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 25}],
        "candidatesTokensDetails": [
            {"modality": "TEXT", "tokenCount": 15},
            {"modality": "IMAGE", "tokenCount": 5},
        ],
        "serviceTier": "FLEX",
    },
}


USAGE = Usage(
    input_tokens=107,
    output_tokens=50,
    cache_read_tokens=40,
    reasoning_tokens=30,
    input_audio_tokens=30,
    cache_read_audio_tokens=25,
    input_image_tokens=10,
    output_image_tokens=5,
)


def pieces() -> list[dict[str, Any]]:
    """The same answer in pieces, as Gemini cuts them."""
    common = {"responseId": "resp_1", "modelVersion": "gemini-3-pro-001"}
    candidate = BODY["candidates"][0]
    parts = candidate["content"]["parts"]
    out = []
    for part in parts:
        one: dict[str, Any] = {"index": 0, "content": {"role": "model", "parts": [part]}}
        out.append({**common, "candidates": [one], "usageMetadata": {"promptTokenCount": 100}})
    out[1]["candidates"][0]["logprobsResult"] = candidate["logprobsResult"]
    last = {"index": 0, "finishReason": "STOP"}
    out.append({**common, "candidates": [last], "usageMetadata": BODY["usageMetadata"]})
    return out
