"""Where in a TOML file each key stands, so that an error can name the line.

The standard library's parser keeps no positions. This one keeps nothing else: it is given text that
`tomllib` has accepted, and so only has to find where keys and values begin and end.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

from .layers import Path

_BLANK = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_STRING = re.compile(
    r'"""(?:[^"\\]|\\.|"(?!""))*"{3,5}'
    r"|'''(?:[^']|'(?!''))*'{3,5}"
    r'|"(?:[^"\\]|\\.)*"'
    r"|'[^']*'",
    re.DOTALL,
)
_PLAIN = re.compile(r"[^,\]}#\r\n]+")


def locate(text: str) -> dict[Path, int]:
    """The line, from 1, of every key, table and array item of a valid TOML document."""
    return dict(_Scanner(text).scan())


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text.replace("\r\n", "\n")
        self._at = 0
        self._line = 1
        self._counted = 0
        self._arrays: dict[Path, int] = {}

    def scan(self) -> Iterator[tuple[Path, int]]:
        table: Path = ()
        while self._skip():
            line = self._here()
            if self._take("[["):
                key = self._key()
                above = self._resolve(key[:-1])
                array = (*above, key[-1])
                if array not in self._arrays:
                    yield array, line
                self._arrays[array] = self._arrays.get(array, -1) + 1
                table = (*array, self._arrays[array])
                self._expect("]]")
                yield table, line
            elif self._take("["):
                table = self._resolve(self._key())
                self._expect("]")
                yield table, line
            else:
                yield from self._pair(table)

    def _resolve(self, key: Path) -> Path:
        """A header's key with the index of the latest item of each array of tables on the way."""
        path: Path = ()
        for part in key:
            path = (*path, part)
            if path in self._arrays:
                path = (*path, self._arrays[path])
        return path

    def _pair(self, table: Path) -> Iterator[tuple[Path, int]]:
        line = self._here()
        key = self._key()
        self._expect("=")
        for depth in range(1, len(key) + 1):
            yield (*table, *key[:depth]), line
        yield from self._value((*table, *key))

    def _value(self, path: Path) -> Iterator[tuple[Path, int]]:
        self._skip()
        if self._take("["):
            index = 0
            while self._skip() and not self._take("]"):
                yield (*path, index), self._here()
                yield from self._value((*path, index))
                index += 1
                self._skip()
                self._take(",")
        elif self._take("{"):
            while self._skip() and not self._take("}"):
                yield from self._pair(path)
                self._skip()
                self._take(",")
        else:
            self._match(_STRING) or self._match(_PLAIN)

    def _key(self) -> Path:
        parts: list[str] = []
        while True:
            self._skip()
            quoted = self._match(_STRING)
            parts.append(tomllib.loads(f"v={quoted}")["v"] if quoted else self._match(_BARE_KEY))
            self._skip()
            if not self._take("."):
                return tuple(parts)

    def _skip(self) -> bool:
        """Pass white space, line ends and comments; whether anything follows."""
        self._match(_BLANK)
        return self._at < len(self._text)

    def _match(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self._text, self._at)
        if found is None:
            return ""
        self._at = found.end()
        return found.group()

    def _take(self, token: str) -> bool:
        if not self._text.startswith(token, self._at):
            return False
        self._at += len(token)
        return True

    def _expect(self, token: str) -> None:
        self._skip()
        if not self._take(token):
            raise ValueError(f"line {self._here()}: {token} expected; the text is not valid TOML")

    def _here(self) -> int:
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        return self._line
