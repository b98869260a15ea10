"""What is said of an inference and of an attempt: a record's fields under the conventions' names."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from . import semconv

Attributes = dict[str, Any]
Place = tuple[str, int]

KEPT_PARAMETERS = (
    *("max_tokens", "max_completion_tokens", "temperature", "top_p", "top_k", "stop", "seed", "n"),
    *("frequency_penalty", "presence_penalty", "response_format", "service_tier"),
    *("encoding_format", "dimensions"),
)
"""The request's parameters that are looked at here; a schema in ``response_format`` is not."""

_NUMBERS: tuple[tuple[str, str, type], ...] = (
    ("max_tokens", semconv.REQUEST_MAX_TOKENS, int),
    ("max_completion_tokens", semconv.REQUEST_MAX_TOKENS, int),
    ("temperature", semconv.REQUEST_TEMPERATURE, float),
    ("top_p", semconv.REQUEST_TOP_P, float),
    ("top_k", semconv.REQUEST_TOP_K, int),
    ("seed", semconv.REQUEST_SEED, int),
    ("frequency_penalty", semconv.REQUEST_FREQUENCY_PENALTY, float),
    ("presence_penalty", semconv.REQUEST_PRESENCE_PENALTY, float),
    ("dimensions", semconv.EMBEDDING_DIMENSIONS, int),
)

_USAGE = (
    ("input_tokens", semconv.INPUT_TOKENS),
    ("output_tokens", semconv.OUTPUT_TOKENS),
    ("cache_read_tokens", semconv.CACHE_READ_TOKENS),
    ("cache_write_tokens", semconv.CACHE_WRITE_TOKENS),
    ("reasoning_tokens", semconv.REASONING_TOKENS),
)

_OUTPUT_TYPES = {"text": "text", "json_object": "json", "json_schema": "json"}


def last_attempt(record: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The call that answered, or the last one that failed; ``None`` where no provider was called."""
    attempts = record["attempts"]
    return attempts[-1] if attempts else None


def identity(record: Mapping[str, Any], places: Mapping[str, Place]) -> Attributes:
    """What spans and metrics have in common: operation, provider, models, server.

    The model is the one that the provider was asked for; where none was asked there is none.

    :param places: configured provider → host and port.
    """
    last = last_attempt(record)
    found: Attributes = {
        semconv.OPERATION: semconv.operation_name(record["operation"]),
        semconv.PROVIDER: semconv.provider_name(last["family"] if last else record["provider"]),
    }
    if last is None:
        return found
    found[semconv.REQUEST_MODEL] = last["model"]
    if last["response_model"]:
        found[semconv.RESPONSE_MODEL] = last["response_model"]
    place = places.get(last["provider"])
    if place is not None:
        found[semconv.SERVER_ADDRESS], found[semconv.SERVER_PORT] = place
    return found


def inference_attributes(record: Mapping[str, Any], places: Mapping[str, Place]) -> Attributes:
    """Everything that is said of an inference, but for messages and answers."""
    found = identity(record, places)
    found.setdefault(semconv.REQUEST_MODEL, record["model"])
    openai = found[semconv.PROVIDER] in ("openai", "azure.ai.openai")
    found.update(_asked(record, openai))
    found.update(_answered(record, openai))
    found.update(_own(record))
    return found


def attempt_attributes(attempt: Mapping[str, Any], places: Mapping[str, Place]) -> Attributes:
    """What is said of one attempt.

    Its tokens are ours and not the conventions': these stand on the inference, where a sum over all
    spans counts them once.
    """
    found: Attributes = {
        semconv.ATTEMPT_NUMBER: attempt["number"],
        semconv.ATTEMPT_STATUS: attempt["status"],
        semconv.PROVIDER_NAME: attempt["provider"],
        semconv.PROVIDER: semconv.provider_name(attempt["family"]),
        semconv.REQUEST_MODEL: attempt["model"],
    }
    _put(found, semconv.RESPONSE_MODEL, attempt["response_model"])
    _put(found, semconv.RESPONSE_ID, attempt["response_id"])
    _put(found, semconv.TIME_TO_FIRST_CHUNK, attempt["first_chunk_s"])
    if attempt["finish_reason"]:
        found[semconv.FINISH_REASONS] = [attempt["finish_reason"]]
    usage = attempt["usage"]
    if usage:
        found[semconv.ATTEMPT_INPUT_TOKENS] = usage["input_tokens"]
        found[semconv.ATTEMPT_OUTPUT_TOKENS] = usage["output_tokens"]
    place = places.get(attempt["provider"])
    if place is not None:
        found[semconv.SERVER_ADDRESS], found[semconv.SERVER_PORT] = place
    return found


def first_chunk_s(record: Mapping[str, Any]) -> float | None:
    """Seconds from the request to the first piece of the answer, attempts that failed before included."""
    last = last_attempt(record)
    if last is None or last["first_chunk_s"] is None:
        return None
    before = max(0.0, last["started_at"] - record["started_at"])
    return float(before + last["first_chunk_s"])


def plain(value: Any) -> Any:
    """A value that an attribute can hold: a text, a number, a truth, or a list of one of these."""
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, list) and len({type(each) for each in value}) == 1 and _is_plain(value[0]):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def redacted(value: Any, redact: Callable[[str], str]) -> Any:
    """A value without its secrets."""
    if type(value) is str:
        return redact(value)
    if type(value) is list:
        return [redacted(each, redact) for each in value]
    if type(value) is dict:
        return {name: redacted(each, redact) for name, each in value.items()}
    return value


def _is_plain(value: Any) -> bool:
    return isinstance(value, str | bool | int | float)


def _put(found: Attributes, name: str, value: Any) -> None:
    if value is not None:
        found[name] = value


def _asked(record: Mapping[str, Any], openai: bool) -> Attributes:
    found: Attributes = {}
    if record["stream"]:
        found[semconv.REQUEST_STREAM] = True
    _put(found, semconv.CONVERSATION, record["session"])
    parameters = (record["content"] or {}).get("parameters") or {}
    for parameter, name, kind in _NUMBERS:
        value = parameters.get(parameter)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[name] = kind(value)
    choices = parameters.get("n")
    if isinstance(choices, int) and choices != 1:
        found[semconv.REQUEST_CHOICES] = choices
    stop = parameters.get("stop")
    if stop:
        found[semconv.REQUEST_STOP_SEQUENCES] = [stop] if isinstance(stop, str) else [str(s) for s in stop]
    form = parameters.get("response_format")
    kind_of_output = _OUTPUT_TYPES.get(str(form.get("type"))) if isinstance(form, Mapping) else None
    _put(found, semconv.OUTPUT_TYPE, kind_of_output)
    if isinstance(parameters.get("encoding_format"), str):
        found[semconv.REQUEST_ENCODING_FORMATS] = [parameters["encoding_format"]]
    tier = parameters.get("service_tier")
    if openai and isinstance(tier, str) and tier != "auto":
        found[semconv.OPENAI_REQUEST_TIER] = tier
    return found


def _answered(record: Mapping[str, Any], openai: bool) -> Attributes:
    found: Attributes = {}
    _put(found, semconv.RESPONSE_ID, record["response_id"])
    if record["finish_reason"]:
        found[semconv.FINISH_REASONS] = [record["finish_reason"]]
    _put(found, semconv.TIME_TO_FIRST_CHUNK, first_chunk_s(record))
    usage = record["usage"]
    if usage:
        for part, name in _USAGE:
            _put(found, name, usage.get(part))
        if record["operation"] == "embeddings":
            found.pop(semconv.OUTPUT_TOKENS, None)
        if usage.get("estimated"):
            found[semconv.ESTIMATED] = True
    if record["error"]:
        found[semconv.ERROR_TYPE] = record["error"]["code"]
    last = last_attempt(record)
    if openai and last is not None:
        _put(found, semconv.OPENAI_RESPONSE_TIER, last["service_tier"])
    return found


def _own(record: Mapping[str, Any]) -> Attributes:
    found: Attributes = {
        semconv.REQUEST_ID: record["request_id"],
        semconv.MODEL: record["model"],
        semconv.STATUS: record["status"],
        semconv.ENTRY_POINT: record["entry_point"],
        semconv.ATTEMPTS: len(record["attempts"]),
    }
    _put(found, semconv.PROVIDER_NAME, record["provider"])
    _put(found, semconv.ALIAS, record["alias"])
    _put(found, semconv.KEY_ID, record["key_id"])
    _put(found, semconv.JOB_ID, record["job_id"])
    _put(found, semconv.USER_ID, record["user"])
    for name, value in (record["tags"] or {}).items():
        found[semconv.TAG + name] = value
    cost = record["cost"]
    if cost is not None:
        found[semconv.COST_PRICED] = cost["priced"]
        if cost["total_cost_usd"] is not None:
            found[semconv.COST] = float(cost["total_cost_usd"])
            found[semconv.COST_EXACT] = cost["total_cost_usd"]
    evaluation = record["evaluation"]
    if evaluation is not None:
        _put(found, semconv.EVALUATION_PASSED, evaluation["passed"])
    if record["faults"]:
        found[semconv.FAULTS] = [f"{fault['where']}: {fault['code']}" for fault in record["faults"]]
    return found
