"""``required_terms``: what must be said is said."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from marshmallow import ValidationError, fields, validate

from maester.model import Sample, Verdict

from .parameters import Parameters, StrictBoolean
from .words import contains_word, normalize, single_spaced

MAX_TERMS = 1000
MAX_TERM = 1000
"""Characters in one term."""


def _not_blank(term: str) -> None:
    if not term.strip():
        raise ValidationError("A term must have something in it.")


class RequiredTermsParameters(Parameters):
    """What `RequiredTerms` is told."""

    terms = fields.List(
        fields.String(validate=[validate.Length(max=MAX_TERM), _not_blank]),
        required=True,
        validate=validate.Length(min=1, max=MAX_TERMS),
        metadata={"description": "What the answer must contain."},
    )
    match = fields.String(
        load_default="word",
        validate=validate.OneOf(["word", "substring"]),
        metadata={"description": "Whether a term must stand alone as a word, or may be part of one."},
    )
    mode = fields.String(
        load_default="all",
        validate=validate.OneOf(["all", "any"]),
        metadata={"description": "Whether every term is required, or one of them is enough."},
    )
    case_sensitive = StrictBoolean(
        load_default=False, metadata={"description": "Whether upper and lower case differ."}
    )


class RequiredTerms:
    """Passes an answer that contains the terms.

    As words (``match = "word"``): no letter, digit or combining mark may join a term on either side,
    and white space of any kind and length equals a space, so that a term of several words is found
    across a line break. As substrings: anywhere, to the letter. Either way differences of case
    (unless ``case_sensitive``) and of Unicode spelling do not matter; see `maester.evaluators.words`.
    """

    name = "required_terms"
    version = "1"
    schema = RequiredTermsParameters

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict:
        """Score: the fraction of the terms that was found. The explanation lists those missing."""
        case_sensitive = parameters["case_sensitive"]
        as_words = parameters["match"] == "word"
        terms = _prepared(tuple(parameters["terms"]), as_words, case_sensitive)
        text = normalize(sample.response.output, case_sensitive=case_sensitive)
        if as_words:
            if any(" " in term for _, term in terms):
                text = single_spaced(text)
            missing = [written for written, term in terms if not contains_word(text, term)]
        else:
            missing = [written for written, term in terms if term not in text]
        found = len(terms) - len(missing)
        passed = not missing if parameters["mode"] == "all" else found > 0
        return Verdict(passed, found / len(terms), explanation=_explain(missing, found, len(terms)))


@lru_cache(maxsize=512)
def _prepared(terms: tuple[str, ...], as_words: bool, case_sensitive: bool) -> tuple[tuple[str, str], ...]:
    """Each different term as written and as compared."""
    prepared: dict[str, str] = {}
    for written in terms:
        term = normalize(written, case_sensitive=case_sensitive)
        prepared.setdefault(single_spaced(term) if as_words else term, written)
    return tuple((written, term) for term, written in prepared.items())


def _explain(missing: list[str], found: int, total: int) -> str | None:
    if not missing:
        return None
    return f"Found {found} of {total} terms; missing: {', '.join(map(repr, missing))}."
