"""The section ``[litellm_prices]`` of the configuration."""

from __future__ import annotations

from typing import Any

from marshmallow import RAISE, Schema, fields, validate

AFTER_GENAI_PRICES = 1100
"""Maester's own source has the order 1000."""


class Flag(fields.Boolean):
    """``true`` or ``false``, and nothing that merely looks like it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:
        if not isinstance(value, bool):
            raise self.make_error("invalid", input=value)
        return value


class LiteLLMSection(Schema):
    """``[litellm_prices]``"""

    class Meta:
        """A key that nobody knows is a mistake."""

        unknown = RAISE

    path = fields.String(
        required=True,
        validate=validate.Length(1),
        metadata={"description": "Path of the price map, relative to the working folder."},
    )
    order = fields.Integer(
        strict=True,
        load_default=AFTER_GENAI_PRICES,
        validate=validate.Range(min=1, max=10_000),
        metadata={"description": "Where two sources know a price, the lower counts; genai-prices: 1000."},
    )
    deprecated = Flag(
        load_default=False,
        metadata={"description": "Whether models count whose deprecation date has passed."},
    )
    zeros = Flag(
        load_default=False,
        metadata={"description": "Whether models of which every price is 0 are free, and not unknown."},
    )
