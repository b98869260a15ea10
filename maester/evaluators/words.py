"""Words of a text in any script: what stands alone as a word, and how many there are.

A word is a run of letters, digits and combining marks (Unicode categories L, N and M). Chinese,
Japanese, Thai, Lao, Khmer and Burmese are written without spaces between words, so a character of
their scripts is no obstacle to a word beside it. For counting, each ideograph and kana is a word,
as word processors have it; a run of Thai, Lao, Khmer or Burmese is one, because telling its words
apart takes a dictionary.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_IDEOGRAPHS = (
    "\u3005-\u3007\u3041-\u30ff\u31f0-\u31ff"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
    "\uff66-\uff9f"  # halfwidth katakana
)
_UNSPACED = (
    f"{_IDEOGRAPHS}"
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
)
_BLOCKS_WITH_MARKS = (
    (0x300, 0x370),  # combining diacritics
    (0x483, 0x48A),  # Cyrillic
    (0x591, 0x1A80),  # Hebrew to Tai Tham
    (0x1AB0, 0x1E00),  # more diacritics, scripts of Indonesia
    (0x20D0, 0x2100),  # marks for symbols
    (0x2CEF, 0x3100),  # Coptic to kana
    (0xA66F, 0xABF0),  # Cyrillic extensions to Meetei Mayek
    (0xFB1E, 0xFB1F),
    (0xFE00, 0xFE30),  # variation selectors, half marks
    (0x101FD, 0x12000),  # ancient and Indic scripts
    (0x16AF0, 0x16FF8),
    (0x1BC9D, 0x1BC9F),
    (0x1CF00, 0x1D245),  # musical marks
    (0x1DA00, 0x1E950),  # SignWriting to Adlam
    (0xE0100, 0xE01F0),  # variation selectors
)
"""Where Unicode 16 has combining marks; the rest of it need not be searched."""

_INSIDE = "(?:://|['’\\-‐‑./:@&+_]|(?<=\\d),(?=\\d))"
"""What may stand inside a word, between letters or digits."""

_ASCII_WORD = re.compile(f"[A-Za-z0-9]+(?:{_INSIDE}[A-Za-z0-9]+)*")

_is_unspaced = re.compile(f"[{_UNSPACED}]").match


def normalize(text: str, *, case_sensitive: bool) -> str:
    """The form in which texts are compared: canonically composed and, unless told, case-folded.

    Unicode 16, D145 (canonical caseless match), so that "STRASSE" equals "straße" and a letter
    equals its decomposed spelling.
    """
    if text.isascii():
        return text if case_sensitive else text.lower()
    text = unicodedata.normalize("NFC", text)
    if case_sensitive:
        return text
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())


def single_spaced(text: str) -> str:
    """The text with every run of white space, line breaks included, as one space."""
    return " ".join(text.split())


def contains_word(text: str, term: str) -> bool:
    """Whether `term` occurs in `text` and stands alone there.

    Where the term begins or ends with a word character, the neighbour in the text must not be one;
    an end made of punctuation, as in "C++", needs no such thing. An underscore joins two words
    ("total_cost") but not a word to nothing ("_emphasis_").
    """
    guarded_start, guarded_end = _joins(term[0]), _joins(term[-1])
    at = text.find(term)
    while at >= 0:
        end = at + len(term)
        if not (guarded_start and _joined_before(text, at)) and not (
            guarded_end and _joined_after(text, end)
        ):
            return True
        at = text.find(term, at + 1)
    return False


def count_words(text: str) -> int:
    """How many words a text has; "don't", "state-of-the-art" and "3,000.50" are one each."""
    pattern = _ASCII_WORD if text.isascii() else _word_pattern()
    return len(pattern.findall(text))


@lru_cache(maxsize=4096)
def _joins(character: str) -> bool:
    """Whether a word would go on with this character."""
    if _is_unspaced(character):
        return False
    return unicodedata.category(character)[0] in "LNM"


def _joined_before(text: str, at: int) -> bool:
    at -= 1
    while at >= 0 and text[at] == "_":
        at -= 1
    return at >= 0 and _joins(text[at])


def _joined_after(text: str, at: int) -> bool:
    while at < len(text) and text[at] == "_":
        at += 1
    return at < len(text) and _joins(text[at])


@lru_cache(maxsize=1)
def _word_pattern() -> re.Pattern[str]:
    """One word: an ideograph, or a run of word characters with what may stand inside one.

    Made at first use, because the combining marks have to be collected: `re` has no class for them.
    """
    marks = _ranges(
        [
            code
            for first, last in _BLOCKS_WITH_MARKS
            for code in range(first, last)
            if unicodedata.category(chr(code))[0] == "M"
        ]
    )
    letter = f"(?:[^\\W_{_IDEOGRAPHS}]|[{marks}])"
    return re.compile(f"[{_IDEOGRAPHS}]|{letter}+(?:{_INSIDE}{letter}+)*")


def _ranges(codes: list[int]) -> str:
    """Code points in ascending order as the inside of a character class."""
    parts: list[str] = []
    start = previous = codes[0]
    for code in [*codes[1:], -1]:
        if code != previous + 1:
            parts.append(f"{chr(start)}-{chr(previous)}")
            start = code
        previous = code
    return "".join(parts)
