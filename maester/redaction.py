"""Keeping secrets out of the log, the journal and the ledger.

Two kinds are looked for: the values that the configuration itself holds, and whatever has the shape
of a well-known credential. Nearly every line has neither, and that must be found out cheaply: a
credential is, or comes with, a long unbroken run of characters, and a line of prose has none.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import orjson

MARK = b"[redacted]"

_WORD = "[A-Za-z0-9_-]"
# Ordinary words with hyphens ("risk-based", "sk-learn") have neither digits nor capitals.
_MIXED = "(?=[a-z_-]{0,64}[0-9A-Z])"
_PEM_TEXT = r"\\[nrt]|[A-Za-z0-9+/=:,\s]|-(?!----)"

_SHAPES: tuple[tuple[bytes, str, bytes], ...] = (
    (b"sk-", rf"sk-{_MIXED}{_WORD}{{17,}}", b"sk-" + MARK),
    (b"sk_live_", r"sk_live_[A-Za-z0-9]{16,}", b"sk_live_" + MARK),
    (b"mk_", rf"mk_{_WORD}{{32,}}", b"mk_" + MARK),
    (b"AIza", rf"AIza{_WORD}{{30,}}", b"AIza" + MARK),
    (b"gsk_", r"gsk_[A-Za-z0-9]{20,}", b"gsk_" + MARK),
    (b"xai-", rf"xai-{_MIXED}{_WORD}{{20,}}", b"xai-" + MARK),
    (b"hf_", r"hf_[A-Za-z0-9]{30,}", b"hf_" + MARK),
    (b"pplx-", r"pplx-[A-Za-z0-9]{32,}", b"pplx-" + MARK),
    (b"ghp_", r"ghp_[A-Za-z0-9]{20,}", b"ghp_" + MARK),
    (b"gho_", r"gho_[A-Za-z0-9]{20,}", b"gho_" + MARK),
    (b"ghs_", r"ghs_[A-Za-z0-9]{20,}", b"ghs_" + MARK),
    (b"ghu_", r"ghu_[A-Za-z0-9]{20,}", b"ghu_" + MARK),
    (b"github_pat_", r"github_pat_[A-Za-z0-9_]{20,}", b"github_pat_" + MARK),
    (b"xox", r"xox[abeprs]-[A-Za-z0-9-]{15,}", b"xox-" + MARK),
    (b"AKIA", r"AKIA[A-Z0-9]{16}(?![A-Z0-9])", b"AKIA" + MARK),
    (b"ASIA", r"ASIA[A-Z0-9]{16}(?![A-Z0-9])", b"ASIA" + MARK),
    (b"eyJ", rf"eyJ{_WORD}{{8,}}\.eyJ{_WORD}{{8,}}\.{_WORD}{{8,}}", MARK),
    (b"Bearer ", r"Bearer +(?=[^\s\"]{0,64}[0-9])[A-Za-z0-9._~+/=-]{20,}", b"Bearer " + MARK),
    (b"bearer ", r"bearer +(?=[^\s\"]{0,64}[0-9])[A-Za-z0-9._~+/=-]{20,}", b"bearer " + MARK),
    (b"Basic ", r"Basic +(?=[^\s\"]{0,64}[0-9=])[A-Za-z0-9+/=_-]{20,}", b"Basic " + MARK),
    (b"basic ", r"basic +(?=[^\s\"]{0,64}[0-9=])[A-Za-z0-9+/=_-]{20,}", b"basic " + MARK),
    (
        b"-----BEGIN ",
        r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY-----"
        rf"(?:{_PEM_TEXT}){{0,12000}}(?:-----END [A-Z0-9 ]{{0,40}}PRIVATE KEY-----)?",
        MARK,
    ),
    (b"://", r"://[^\s/:@\"\\]{0,128}:[^\s/@\"\\]{1,256}@", b"://" + MARK + b"@"),
)
"""What each shape cannot be without, its pattern from there on, and what takes its place."""

_UNBROKEN = b"x" * 20
_RUNS = bytes(
    0x78 if chr(code).isascii() and (chr(code).isalnum() or chr(code) in "_-+/=") else 0x20
    for code in range(256)
)
"""Turns every character that a credential is made of into an x, and all others into spaces."""

_BEFORE = len(b"Bearer ")
_LONGEST_RUN = 65536
_SIGN = re.compile(b"|".join(needle for needle, _, _ in _SHAPES))

_SHORTEST = 6
"""Shorter configured values are not looked for: they would be found in ordinary words."""


class Redactor:
    """Replaces secrets by a mark that tells only of what kind they were.

    :param secrets: values that must never be written down, whatever they look like; those shorter
        than six characters are left alone.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        forms = {form for s in secrets if len(s) >= _SHORTEST for form in (_utf8(s), _json(s))}
        # The longest first, so that a secret inside another leaves nothing of the longer one behind.
        self._known = tuple(sorted(forms, key=len, reverse=True))

    def redact(self, text: str) -> str:
        """The text without its secrets; the very same object when there are none."""
        line = _utf8(text)
        clean = self.redact_bytes(line)
        return text if clean is line else clean.decode("utf-8", "surrogatepass")

    def redact_bytes(self, line: bytes) -> bytes:
        """The same for UTF-8. JSON stays well-formed."""
        for secret in self._known:
            if secret in line:
                line = line.replace(secret, MARK)
        if _suspicious(line):
            for needle, pattern, mark in _COMPILED:
                if needle in line:
                    line = _replace(line, needle, pattern, mark)
        return line


_COMPILED = tuple((needle, re.compile(rule.encode()), mark) for needle, rule, mark in _SHAPES)


def _suspicious(line: bytes) -> bool:
    """Whether the line can hold a credential at all."""
    if b"@" in line and b"://" in line:  # the password in an address may be short
        return True
    runs = line.translate(_RUNS)
    at = runs.find(_UNBROKEN)
    if at >= 0 and b"PRIVATE KEY" in line:
        return True
    while at >= 0:
        end = runs.find(b" ", at)
        if end < 0:
            end = len(line)
        if _SIGN.search(line, max(0, at - _BEFORE), min(end, at + _LONGEST_RUN)):
            return True
        at = runs.find(_UNBROKEN, end)
    return False


def _replace(line: bytes, needle: bytes, pattern: re.Pattern[bytes], mark: bytes) -> bytes:
    pieces: list[bytes] = []
    done = 0
    at = line.find(needle)
    while at >= 0:
        found = None
        # Inside a word it is no credential; but the "n" of JSON's "\n" is no letter of the word.
        if not line[at - 1 : at].isalnum() or line[at - 2 : at - 1] == b"\\" or needle == b"://":
            found = pattern.match(line, at)
        if found is None:
            at = line.find(needle, at + 1)
            continue
        pieces += (line[done:at], mark)
        done = found.end()
        at = line.find(needle, done)
    return b"".join((*pieces, line[done:])) if pieces else line


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _json(secret: str) -> bytes:
    """How the secret reads inside a JSON string."""
    try:
        return orjson.dumps(secret)[1:-1]
    except TypeError:  # half a surrogate pair, which JSON cannot hold
        return _utf8(secret)
