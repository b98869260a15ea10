"""``non_empty``: there is something in the answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from maester.model import Sample, Verdict

from .parameters import Parameters

_UNSEEN = "".join(
    chr(code)
    for first, last in (
        (0x00, 0x20),  # controls and the space
        (0x7F, 0xA0),  # more controls, the no-break space
        (0xAD, 0xAD),  # soft hyphen
        (0x34F, 0x34F),  # combining grapheme joiner
        (0x61C, 0x61C),  # Arabic letter mark
        (0x115F, 0x1160),  # Hangul fillers
        (0x1680, 0x1680),
        (0x180B, 0x180F),  # Mongolian selectors and separator
        (0x2000, 0x200F),  # spaces, joiners, direction marks
        (0x2028, 0x202F),  # line and paragraph separators, direction
        (0x205F, 0x206F),  # spaces, joiners, direction
        (0x2800, 0x2800),  # blank Braille pattern
        (0x3000, 0x3000),  # ideographic space
        (0x3164, 0x3164),  # Hangul filler
        (0xFE00, 0xFE0F),  # variation selectors
        (0xFEFF, 0xFEFF),  # byte order mark
        (0xFFA0, 0xFFA0),  # Hangul filler
    )
    for code in range(first, last + 1)
)
"""White space, and characters that show nothing though `str.strip` keeps them."""

_PASSED = Verdict(True, 1.0)
_CALLS = Verdict(True, 1.0, explanation="The answer is a tool call.")
_BLANK = Verdict(False, 0.0, "blank", "The answer has nothing but white space.")
_EMPTY = Verdict(False, 0.0, "empty", "The answer has no content.")
_REFUSED = Verdict(False, 0.0, "refused", "The answer has no content: the model refused.")


class NonEmpty:
    """Passes an answer with something visible in its text, or with a tool call or audio.

    White space, invisible characters and a content of ``null`` are nothing. A refusal, which comes
    in a field of its own beside the content, is no content either.
    """

    name = "non_empty"
    version = "1"
    schema = Parameters

    def evaluate(self, sample: Sample, parameters: Mapping[str, Any]) -> Verdict:
        """Score 1 or 0; the labels of a failure are ``empty``, ``blank`` and ``refused``."""
        output = sample.response.output
        if output.strip(_UNSEEN):
            return _PASSED
        message = _message(sample.response.body)
        if message.get("tool_calls") or message.get("function_call"):
            return _CALLS
        if message.get("audio"):
            return _PASSED
        if message.get("refusal"):
            return _REFUSED
        return _BLANK if output else _EMPTY


def _message(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first choice's message, or nothing: a plugin's answer may have no such body."""
    choices = body.get("choices")
    first = choices[0] if isinstance(choices, (list, tuple)) and choices else None
    message = first.get("message") if isinstance(first, Mapping) else None
    return message if isinstance(message, Mapping) else {}
