"""What the built-in evaluators' parameter schemas share."""

from __future__ import annotations

from marshmallow import RAISE, Schema, fields


class Parameters(Schema):
    """Parameters of an evaluator: a key that is not declared is an error."""

    class Meta:
        """An unknown key is a mistake that must not pass in silence."""

        unknown = RAISE


class StrictBoolean(fields.Boolean):
    """True or false, and nothing that merely looks like it."""

    truthy = {True}
    falsy = {False}

    def _deserialize(self, value: object, attr: str | None, data: object, **kwargs: object) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value
