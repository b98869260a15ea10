"""Checks: from what a caller or the configuration writes, to what is run over an answer.

Written form, in a request's ``evaluate`` and in the configuration's ``checks``: a list whose items
are the name of an evaluator, or an object with the evaluator's ``name``, its parameters beside it,
and optionally ``required`` (true unless told), ``label`` (how the result is called) and ``deferred``
(true to run it later, in the background)::

    ["non_empty", {"name": "required_terms", "terms": ["refund"], "required": false}]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import orjson
from marshmallow import Schema, ValidationError

from .contracts import Evaluator
from .errors import ConfigError, InvalidRequest
from .fingerprint import config_hash
from .model import Check

MAX_CHECKS = 64
"""Checks in one list; more is a mistake or an attack."""

MAX_LABEL = 100
"""Characters in a check's label."""

_OWN_KEYS = frozenset({"name", "required", "label", "deferred"})
_CACHED_BYTES = 4096
_CACHED_ENTRIES = 1024

ErrorClass = type[InvalidRequest] | type[ConfigError]


@dataclass(frozen=True, slots=True)
class ResolvedCheck(Check):
    """A check whose evaluator is registered and has accepted the parameters.

    :param version: the evaluator's.
    :param written: the parameters as they were written: what the evaluator's schema takes once more,
        and what `config_hash` stands for.
    :param config_hash: see `maester.fingerprint.config_hash`; made once, not for each request.
    """

    version: str = "1"
    written: Mapping[str, Any] = field(default_factory=dict)
    config_hash: str = ""


def parse_checks(
    value: Any, *, param: str = "evaluate", error: ErrorClass = InvalidRequest
) -> tuple[Check, ...] | None:
    """Read the written form of a list of checks.

    Whether the evaluators exist and accept their parameters is for `resolve_checks` to say.

    :param value: the list; one name or object alone counts as a list of one; ``False`` and the empty
        list mean that nothing is checked.
    :param param: where the value stands, for error messages.
    :param error: the class of error to raise.
    :returns: the checks; ``None`` when `value` is ``None`` or ``True``: what is configured applies.
    :raises InvalidRequest: (or `error`) naming the item at fault, such as ``evaluate[0].label``.
    """
    if value is None or value is True:
        return None
    if value is False:
        return ()
    items = [value] if isinstance(value, (str, Mapping)) else value
    if not isinstance(items, (list, tuple)):
        raise error(
            f"{param} must be a list of evaluators (each a name, or an object with a name and"
            f" parameters), not {_kind(value)}.",
            param=param,
        )
    if len(items) > MAX_CHECKS:
        raise error(f"{param} has {len(items)} checks; at most {MAX_CHECKS} are run.", param=param)
    return tuple(_parse_one(item, f"{param}[{index}]", error) for index, item in enumerate(items))


def _parse_one(item: Any, param: str, error: ErrorClass) -> Check:
    if isinstance(item, str):
        item = {"name": item}
    if not isinstance(item, Mapping):
        raise error(
            f"{param} must be the name of an evaluator or an object with one, not {_kind(item)}.",
            param=param,
        )
    name = item.get("name")
    if not isinstance(name, str) or not name.strip():
        raise error(f"{param}.name must say which evaluator to run.", param=f"{param}.name")
    required = _flag(item, "required", True, param, error)
    deferred = _flag(item, "deferred", False, param, error)
    label = item.get("label")
    if label is not None and not _is_label(label):
        raise error(
            f"{param}.label must be a text of 1 to {MAX_LABEL} printable characters.",
            param=f"{param}.label",
        )
    parameters = {key: each for key, each in item.items() if key not in _OWN_KEYS}
    return Check(name, parameters, required, label or "", deferred)


def _flag(item: Mapping[str, Any], name: str, default: bool, param: str, error: ErrorClass) -> bool:
    value = item.get(name, default)
    if not isinstance(value, bool):
        raise error(f"{param}.{name} must be true or false, not {_kind(value)}.", param=f"{param}.{name}")
    return value


def resolve_checks(
    checks: Sequence[Check],
    evaluators: Mapping[str, Evaluator],
    *,
    param: str = "evaluate",
    error: ErrorClass = InvalidRequest,
) -> tuple[ResolvedCheck, ...]:
    """Make sure that checks can be run: the evaluators exist and accept the parameters.

    Called when the configuration is bound and when a request is admitted, so that a wrong check
    never costs a call to a provider. Labels that occur twice get a number: ``max_length_2``.

    :param checks: as `parse_checks` returns them, or made by hand.
    :param evaluators: the registered evaluators by name.
    :param param: where the checks stand, for error messages.
    :param error: the class of error to raise.
    :returns: the checks, with validated parameters. What is already resolved is returned as it is.
    :raises InvalidRequest: (or `error`) naming the item and parameter, such as ``evaluate[0].terms``.
    """
    resolved: list[ResolvedCheck] = []
    labels: set[str] = set()
    for index, check in enumerate(checks):
        label = check.label
        if label in labels:
            label = free_label(label, labels)
        labels.add(label)
        if isinstance(check, ResolvedCheck):
            resolved.append(check if check.label == label else replace(check, name=label))
            continue
        where = f"{param}[{index}]"
        evaluator = evaluators.get(check.evaluator)
        if evaluator is None:
            raise error(_unknown(check.evaluator, evaluators), param=where)
        parameters = _validate(evaluator, check.parameters, where, error)
        version = str(getattr(evaluator, "version", "1"))
        resolved.append(
            ResolvedCheck(
                check.evaluator,
                parameters,
                check.required,
                label,
                check.deferred,
                version,
                check.parameters,
                _hash_of(check.evaluator, version, check.parameters),
            )
        )
    return tuple(resolved)


def refuse_deferred(
    checks: Sequence[Check], *, blocks: bool, kept: bool, param: str, error: ErrorClass
) -> None:
    """Refuse deferred checks that cannot do what is asked of them.

    :param blocks: whether an answer is held back when a required check does not pass.
    :param kept: whether answers are kept, which a deferred check reads later.
    :param param: where the checks, or what makes them impossible, stand.
    :raises InvalidRequest: (or `error`), saying why and what to do.
    """
    for check in checks:
        if not check.deferred:
            continue
        if not kept:
            raise error(
                f"{param}: the check {check.label!r} is deferred and could never run, because answers are not"
                ' kept here. Leave `deferred` out, or keep them: log.capture = "full", with the stage'
                " `log` on.",
                param=param,
            )
        if blocks and check.required:
            raise error(
                f"{param}: the check {check.label!r} is deferred, so it cannot hold the answer back as"
                ' on_failure = "block" wants it to. Make it `required = false`, leave `deferred` out, or'
                " observe.",
                param=param,
            )


def _validate(
    evaluator: Evaluator, parameters: Mapping[str, Any], param: str, error: ErrorClass
) -> Mapping[str, Any]:
    declared = getattr(evaluator, "schema", None)
    if declared is None:
        return parameters
    try:
        return _load(declared, parameters)
    except ValidationError as exc:
        schema = _schema_of(declared)
        path, message = _first_message(exc.messages)
        where = f"{param}{path}"
        top = path[1:]
        if top not in schema.fields and top in parameters:
            message = _unknown_parameter(top, schema)
        raise error(f"{where} ({evaluator.name}): {message}", param=where) from exc


_loaded: dict[tuple[Any, bytes], dict[str, Any]] = {}
"""Parameters that were found valid, by schema and JSON, as requests tend to repeat them."""


def _load(declared: Any, parameters: Mapping[str, Any]) -> dict[str, Any]:
    try:
        written = orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME)
    except TypeError:
        return dict(_schema_of(declared).load(parameters))
    key = (declared, written)
    known = _loaded.get(key)
    if known is None:
        known = dict(_schema_of(declared).load(parameters))
        if len(written) <= _CACHED_BYTES:
            if len(_loaded) >= _CACHED_ENTRIES:
                _loaded.clear()
            _loaded[key] = known
    return dict(known)


_hashes: dict[tuple[str, str, bytes], str] = {}
"""Hashes of configurations, by evaluator, version and JSON, as requests tend to repeat them."""


def _hash_of(evaluator: str, version: str, parameters: Mapping[str, Any]) -> str:
    try:
        key = (evaluator, version, orjson.dumps(parameters, option=orjson.OPT_SORT_KEYS))
    except TypeError:  # made by hand, of values that JSON lacks
        return config_hash(evaluator, version, parameters)
    known = _hashes.get(key)
    if known is None:
        known = config_hash(evaluator, version, parameters)
        if len(key[2]) <= _CACHED_BYTES:
            if len(_hashes) >= _CACHED_ENTRIES:
                _hashes.clear()
            _hashes[key] = known
    return known


@lru_cache(maxsize=256)
def _schema_of(declared: Any) -> Schema:
    """The schema as an instance, built once: building costs more than a validation."""
    return declared if isinstance(declared, Schema) else declared()


def _first_message(messages: Any) -> tuple[str, str]:
    """The path and words of the first of marshmallow's nested messages."""
    path = ""
    while isinstance(messages, Mapping):
        key, messages = next(iter(messages.items()))
        if key == "_schema":
            continue
        path += f"[{key}]" if isinstance(key, int) else f".{key}"
    first = messages[0] if isinstance(messages, (list, tuple)) else messages
    return path, str(first)


def _unknown_parameter(name: str, schema: Schema) -> str:
    known = sorted(schema.fields)
    near = get_close_matches(name, known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    takes = f" It takes: {', '.join(known)}." if known else " It takes no parameters."
    return f"there is no such parameter.{hint}{takes}"


def _unknown(name: str, evaluators: Mapping[str, Evaluator]) -> str:
    near = get_close_matches(name, evaluators, n=3)
    hint = f" Did you mean {' or '.join(map(repr, near))}?" if near else ""
    known = ", ".join(sorted(evaluators)) or "none"
    return f"There is no evaluator {name!r}.{hint} Registered: {known}."


def free_label(label: str, taken: set[str]) -> str:
    """A label that is taken with the first number that is not: ``max_length_2``."""
    number = 2
    while f"{label}_{number}" in taken:
        number += 1
    return f"{label}_{number}"


def _is_label(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and len(value) <= MAX_LABEL and value.isprintable()


def _kind(value: Any) -> str:
    """What a JSON value is, in JSON's words."""
    if value is None:
        return "null"
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a text"}
    return kinds.get(type(value), "an object" if isinstance(value, Mapping) else "a list")
