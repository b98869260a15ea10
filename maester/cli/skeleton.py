"""Writing the beginning of a plugin: a distribution that installs, with tests that pass."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from string import Template

KINDS = {
    "evaluator": 'Use it in a request or the configuration: `"evaluate": ["$name"]`.',
    "provider": "Ask it by `$name/$name-1`.",
    "pricing": "`maester prices update` takes its prices up, `maester prices show $name-1` shows them.",
    "sink": "It is told of every finished inference; `[$name]` of the configuration says where they go.",
    "stage": "It is a step of the chain; `[$name]` of the configuration says what it lets through.",
}
"""What can be begun, and how it is used, for its README."""

_WORDS = {"pricing": "price source"}
_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_LONGEST = 50


@dataclass(frozen=True, slots=True)
class Skeleton:
    """A plugin that is to be begun.

    :param kind: one of `KINDS`.
    :param words: its name, as words of lowercase letters and digits.
    """

    kind: str
    words: tuple[str, ...]

    @property
    def name(self) -> str:
        """What it is registered as, also its entry point and its section of the configuration."""
        return "_".join(self.words)

    @property
    def distribution(self) -> str:
        """What pip calls it."""
        return "-".join(("maester", *self.words))

    @property
    def module(self) -> str:
        """What Python imports."""
        return "_".join(("maester", *self.words))

    def files(self) -> dict[str, str]:
        """Its files: relative path → text."""
        word = _WORDS.get(self.kind, self.kind)
        article = "an" if word[0] in "aeiou" else "a"
        values = {
            "article": article,
            "article_capital": article.capitalize(),
            "class_name": "".join(part.capitalize() for part in (*self.words, *word.split())),
            "distribution": self.distribution,
            "kind": word,
            "module": self.module,
            "name": self.name,
        }
        values["use"] = Template(KINDS[self.kind]).substitute(values)
        places = {"module.py": f"{self.module}.py", "test.py": f"tests/test_{self.module}.py"}
        found = {}
        for template in _templates(self.kind):
            file = template.name.removesuffix(".tmpl")
            text = Template(template.read_text(encoding="utf-8")).substitute(values)
            found[places.get(file, file)] = text
        return found

    def write(self, folder: Path) -> None:
        """Write the files into a folder that is made for them.

        :raises FileExistsError: when there is such a folder already; nothing is touched then.
        """
        folder.mkdir(parents=True)
        for place, text in self.files().items():
            path = folder / place
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")


def words_of(name: str) -> tuple[str, ...]:
    """The words of a plugin's name; ``maester-`` in front of it is understood.

    :raises ValueError: saying what a name may be.
    """
    bare = re.sub(r"^maester[-_]", "", name)
    if not _NAME.fullmatch(bare) or len(bare) > _LONGEST:
        raise ValueError(
            f"{name!r} is no name for a plugin: it must be words of lowercase letters and digits, joined by"
            f" '-' or '_', beginning with a letter, at most {_LONGEST} characters: no-apology."
        )
    return tuple(re.split("[-_]", bare))


def _templates(kind: str) -> list[Traversable]:
    folder = resources.files("maester.cli") / "skeletons"
    return [each for part in ("common", kind) for each in sorted((folder / part).iterdir(), key=_by_name)]


def _by_name(file: Traversable) -> str:
    return file.name
