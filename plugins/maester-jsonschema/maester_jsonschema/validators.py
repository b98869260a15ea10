"""Compiled schemas: made once, kept, and asked what is wrong with a document."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jsonschema_rs

from .branching import Branching
from .reading import Document, depth_of

MAX_SCHEMA = 256 * 1024
"""Characters of the longest schema that is compiled, as compact JSON."""

KEPT = 128
"""Compiled schemas that are kept; the one that was not used for longest goes first."""

MAX_LOOKS = 50_000
"""How often a schema may look at one place of an answer, definitions that name themselves aside."""

_LISTED = 100_000
"""Looks at one place times characters up to which all errors are listed."""

_FIRST = 500
"""Looks at one place up to which the first error is."""

_LONGEST = 200
_REGEX_STEPS = 100_000
_HIDDEN = "value"
_GAVE_UP = ("BacktrackLimitExceeded", "RegexEngineFailure")


class SchemaError(ValueError):
    """A schema cannot be used; says why in words that quote none of its values."""


class Undecided(ValueError):
    """Whether a document is valid could not be found out."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a document.

    :param path: JSON Pointer (RFC 6901) of the place, empty for the whole document.
    :param rule: URI fragment that points to the rule in the schema.
    :param message: what the rule says of it.
    """

    path: str
    rule: str
    message: str

    def __str__(self) -> str:
        return f"{self.path or 'The whole'}: {self.message} ({self.rule})"


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong with a document: every problem, or where `complete` is false, some or none of them."""

    problems: tuple[Problem, ...]
    complete: bool = True


class Validator:
    """A compiled schema.

    :param text: the schema as JSON.
    :param formats: whether ``format`` is a rule, not only a remark.
    :param quote: whether problems may quote the document. If not, its values are called "value", and
        names of properties that the schema does not know are ``*``.
    :raises SchemaError: when it is no schema, or one that cannot be followed.
    """

    def __init__(self, text: str, *, formats: bool, quote: bool) -> None:
        schema = json.loads(text)
        self._branching = Branching(schema)
        if self._branching.at(None) > MAX_LOOKS:
            raise SchemaError(
                f"branches so often that it would look at one value more than {MAX_LOOKS:,} times;"
                " name alternatives once each"
            )
        self._quote = quote
        self._names = frozenset(_names(schema))
        try:
            self._compiled = jsonschema_rs.validator_for(
                text,
                validate_formats=formats,
                mask=None if quote else _HIDDEN,
                pattern_options=jsonschema_rs.FancyRegexOptions(backtrack_limit=_REGEX_STEPS),
                offline=True,
            )
        except jsonschema_rs.ValidationError as exc:
            raise SchemaError(_refused(exc)) from None
        except ValueError as exc:
            raise SchemaError(f"cannot be compiled: {exc}") from None

    def check(self, document: Document) -> Finding | None:
        """What is wrong with a document, ``None`` if nothing is.

        :raises Undecided: when a pattern takes too many steps to say.
        """
        value = document.value
        if self._compiled.is_valid(value):
            return None
        looks = self._branching.at(depth_of(value))
        if looks * document.characters <= _LISTED:
            return Finding(tuple(map(self._problem, self._compiled.iter_errors(value))))
        if looks <= _FIRST:
            try:
                self._compiled.validate(value)
            except jsonschema_rs.ValidationError as exc:
                return Finding((self._problem(exc),), complete=False)
        return Finding((), complete=False)

    def _problem(self, error: jsonschema_rs.ValidationError) -> Problem:
        kind = error.kind
        if type(kind).__name__.rpartition("_")[2] in _GAVE_UP:
            raise Undecided(f"The pattern at {pointer(error.schema_path, '#')} takes too many steps.")
        message = error.message if self._quote else _unquoted(error)
        path = [part if self._tellable(part) else "*" for part in error.instance_path]
        return Problem(_short(pointer(path)), _short(pointer(error.schema_path, "#")), _short(message))

    def _tellable(self, part: str | int) -> bool:
        return self._quote or isinstance(part, int) or part in self._names


def compiled(schema: Any, *, formats: bool = False, quote: bool = False) -> Validator:
    """The validator for a schema, from memory if it was seen before.

    :raises SchemaError: when it is no schema, or one that cannot be followed.
    """
    try:
        text = json.dumps(schema, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        text.encode()
    except RecursionError:
        raise SchemaError("is nested too deep") from None
    except (TypeError, ValueError):
        raise SchemaError("holds something that is no JSON") from None
    if len(text) > MAX_SCHEMA:
        raise SchemaError(f"has {len(text):,} characters; at most {MAX_SCHEMA:,} are taken")
    return _kept(text, formats, quote)


def pointer(path: Iterable[str | int], start: str = "") -> str:
    """A JSON Pointer (RFC 6901) of property names and indexes."""
    return start + "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path)


@lru_cache(maxsize=KEPT)
def _kept(text: str, formats: bool, quote: bool) -> Validator:
    return Validator(text, formats=formats, quote=quote)


def _refused(error: jsonschema_rs.ValidationError) -> str:
    if isinstance(error.kind, jsonschema_rs.ValidationErrorKind.Referencing):
        return (
            f"has a reference that leads nowhere ({_short(error.message.partition(' is not present')[0])});"
            ' other documents are never fetched: put what is referred to under "$defs"'
        )
    where = _short(pointer(error.instance_path, "#"))
    return f"is no JSON Schema: {where} is not what may stand there (it breaks {error.kind.name!r})"


def _unquoted(error: jsonschema_rs.ValidationError) -> str:
    """The message without anything of the document; masking covers values, not names of properties."""
    unexpected = getattr(error.kind, "unexpected", None)
    if unexpected is not None:
        return f"{len(unexpected)} more than the schema allows"
    if "propertyNames" in error.schema_path:
        return f"the name of a property breaks the rule for {error.kind.name!r}"
    return error.message


def _names(value: Any) -> Iterable[str]:
    """Every name that occurs anywhere in a schema."""
    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, Mapping):
            yield from each
            pending.extend(each.values())
        elif isinstance(each, list):
            pending.extend(each)


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
