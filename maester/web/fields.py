"""Marshmallow fields for JSON as it is: they check and never convert.

What a caller sends is passed on to the provider as it came, so ``1`` must not become ``1.0`` and
``"5"`` is not a number. They know how to describe themselves in an OpenAPI document (``describe``).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marshmallow import ValidationError
from marshmallow.fields import Field

Json = dict[str, Any]


class Exact(Field[Any]):
    """A value that is kept as it is, if the check agrees."""

    def describe(self) -> Json:
        """The JSON Schema of the value."""
        return {}

    def check(self, value: Any) -> None:
        """Accept a value or explain what would be right.

        :raises ValidationError: the explanation.
        """

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> Any:
        self.check(value)
        return value


class Text(Exact):
    """A text of limited length, or one of a few words."""

    def __init__(
        self,
        *,
        shortest: int = 0,
        longest: int = 1_000_000,
        words: Sequence[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.shortest = shortest
        self.longest = longest
        self.words = words

    def describe(self) -> Json:
        if self.words is not None:
            return {"type": "string", "enum": list(self.words)}
        return {"type": "string", "minLength": self.shortest, "maxLength": self.longest}

    def check(self, value: Any) -> None:
        if type(value) is not str:
            raise ValidationError("must be a text.")
        if self.words is not None and value not in self.words:
            raise ValidationError(f"must be one of: {', '.join(self.words)}.")
        if len(value) < self.shortest:
            raise ValidationError("must not be empty.")
        if len(value) > self.longest:
            raise ValidationError(f"must have at most {self.longest} characters, not {len(value)}.")


class Label(Text):
    """A short text that is kept in the ledger."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(longest=512, **kwargs)

    def describe(self) -> Json:
        return {**super().describe(), "pattern": "^[^\\x00]*$"}

    def check(self, value: Any) -> None:
        super().check(value)
        if "\x00" in value:
            raise ValidationError("must not hold the character NUL.")


class Flag(Exact):
    """True or false."""

    def describe(self) -> Json:
        return {"type": "boolean"}

    def check(self, value: Any) -> None:
        if value is not True and value is not False:
            raise ValidationError("must be true or false.")


class Whole(Exact):
    """A whole number within bounds."""

    def __init__(self, *, least: int = -(2**63), most: int = 2**63 - 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least = least
        self.most = most

    def describe(self) -> Json:
        return {"type": "integer", "minimum": self.least, "maximum": self.most}

    def check(self, value: Any) -> None:
        if type(value) is not int and not (type(value) is float and value.is_integer()):
            raise ValidationError("must be a whole number.")
        if not self.least <= value <= self.most:
            raise ValidationError(f"must be between {self.least} and {self.most}.")


class Number(Exact):
    """A finite number within bounds."""

    def __init__(self, *, least: float = -math.inf, most: float = math.inf, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.least = least
        self.most = most

    def describe(self) -> Json:
        bounds = {"minimum": self.least, "maximum": self.most}
        return {"type": "number", **{name: bound for name, bound in bounds.items() if math.isfinite(bound)}}

    def check(self, value: Any) -> None:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValidationError("must be a number.")
        if not self.least <= value <= self.most:
            raise ValidationError(f"must be between {self.least:g} and {self.most:g}.")


class Object(Exact):
    """An object of any keys."""

    def describe(self) -> Json:
        return {"type": "object", "additionalProperties": True}

    def check(self, value: Any) -> None:
        if type(value) is not dict:
            raise ValidationError("must be an object.")


class Items(Exact):
    """A list, each item of one of some JSON types."""

    def __init__(self, *kinds: type, fewest: int = 0, most: int = 1_000_000, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.kinds = kinds
        self.fewest = fewest
        self.most = most

    def describe(self) -> Json:
        types = [_JSON_TYPES[kind] for kind in self.kinds]
        items: Json = {"type": types[0] if len(types) == 1 else types}
        return {"type": "array", "minItems": self.fewest, "maxItems": self.most, "items": items}

    def check(self, value: Any) -> None:
        if type(value) is not list:
            raise ValidationError("must be a list.")
        if not self.fewest <= len(value) <= self.most:
            raise ValidationError(f"must have {self.fewest} to {self.most} items, not {len(value)}.")
        for index, item in enumerate(value):
            if type(item) not in self.kinds:
                raise ValidationError({index: [f"must be {_words(self.kinds)}."]})


class Either(Exact):
    """Whatever one of several fields accepts."""

    def __init__(self, *choices: Exact, otherwise: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.choices = choices
        self.otherwise = otherwise

    def describe(self) -> Json:
        return {"anyOf": [choice.describe() for choice in self.choices]}

    def check(self, value: Any) -> None:
        for choice in self.choices:
            try:
                choice.check(value)
            except ValidationError:
                continue
            return
        raise ValidationError(self.otherwise)


class Checked(Exact):
    """A value with a check of its own, and the JSON Schema that says the same."""

    def __init__(self, check: Callable[[Any], None], schema: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._check = check
        self._schema = dict(schema)

    def describe(self) -> Json:
        return dict(self._schema)

    def check(self, value: Any) -> None:
        self._check(value)


_JSON_TYPES: Mapping[type, str] = {
    str: "string",
    int: "integer",
    float: "number",
    bool: "boolean",
    dict: "object",
    list: "array",
}

_WORDS: Mapping[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    dict: "an object",
    list: "a list",
}


def _words(kinds: Sequence[type]) -> str:
    return " or ".join(_WORDS[kind] for kind in kinds)
