"""The sections about answers that are kept to be given again."""

from __future__ import annotations

from ..settings import CacheSettings, IdempotencySettings
from .fields import Flag, Seconds, Section, Whole, defaults_of

_CACHE = defaults_of(CacheSettings)
_IDEMPOTENCY = defaults_of(IdempotencySettings)


class CacheSection(Section):
    """``[cache]``"""

    max_answer_bytes = Whole(
        "Size in bytes of the largest answer that is cached.",
        1,
        2**30,
        load_default=_CACHE["max_answer_bytes"],
    )
    max_answers = Whole(
        "How many answers are cached; the oldest go first.", 1, 2**40, load_default=_CACHE["max_answers"]
    )


class IdempotencySection(Section):
    """``[idempotency]``"""

    enabled = Flag(
        "Whether `Idempotency-Key` is read on requests for inferences.", load_default=_IDEMPOTENCY["enabled"]
    )
    keep_s = Seconds(
        "Seconds for which a request is remembered by its key.",
        high=30 * 86_400,
        load_default=_IDEMPOTENCY["keep_s"],
    )
    max_answer_bytes = Whole(
        "Size in bytes of the largest answer that is kept; a larger one is not given again.",
        1,
        2**30,
        load_default=_IDEMPOTENCY["max_answer_bytes"],
    )
