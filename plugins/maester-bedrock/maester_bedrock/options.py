"""The section ``[bedrock]`` of Maester's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import Schema, fields, validate

_SECONDS = validate.Range(min=0, min_inclusive=False, error="must be more than 0 seconds")
_FILLED = validate.Length(min=1, error="must not be empty")


def _seconds(about: str) -> fields.Float:
    return fields.Float(validate=_SECONDS, metadata={"description": about})


def _text(about: str, *, secret: bool = False) -> fields.String:
    return fields.String(validate=_FILLED, metadata={"description": about, "secret": secret})


class GuardrailSchema(Schema):
    """``[bedrock.guardrail]``: applied to every request that names no ``guardrailConfig`` itself."""

    identifier = fields.String(
        required=True, validate=_FILLED, metadata={"description": "The guardrail's id or ARN."}
    )
    version = fields.String(
        load_default="DRAFT", validate=_FILLED, metadata={"description": "Its version, or `DRAFT`."}
    )
    trace = fields.String(
        load_default="disabled",
        validate=validate.OneOf(["disabled", "enabled", "enabled_full"]),
        metadata={"description": "Whether answers carry the guardrail's trace."},
    )


class BedrockSchema(Schema):
    """``[bedrock]``; what is not set is found as every AWS tool finds it."""

    region = _text("The AWS region; unset: `AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's.")
    profile = _text("A profile of `~/.aws/config`; unset: `AWS_PROFILE`, the default one.")
    endpoint_url = _text("Another address of the service, such as a VPC endpoint's.")
    bearer_token = _text(
        "A Bedrock API key; unset: `AWS_BEARER_TOKEN_BEDROCK`, or else requests are signed.", secret=True
    )
    models = fields.List(
        fields.String(validate=_FILLED),
        metadata={"description": "Models to list, and to find without `bedrock/` before them."},
    )
    guardrail = fields.Nested(GuardrailSchema)
    connect_timeout_s = _seconds("Seconds that a connection may take.")
    first_byte_timeout_s = _seconds("Seconds until the beginning of an answer.")
    idle_timeout_s = _seconds("Seconds between two pieces of an answer.")
    total_timeout_s = _seconds("Seconds that a call may take in all.")
    max_connections = fields.Integer(
        strict=True,
        validate=validate.Range(min=1),
        metadata={"description": "Connections that are kept open."},
    )


@dataclass(frozen=True, slots=True)
class Options:
    """The section as values; a member is named after its key."""

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None
    bearer_token: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    guardrail: Mapping[str, str] | None = None
    connect_timeout_s: float = 10.0
    first_byte_timeout_s: float = 120.0
    idle_timeout_s: float = 60.0
    total_timeout_s: float = 600.0
    max_connections: int = 64

    @classmethod
    def of(cls, section: Mapping[str, Any]) -> Options:
        """The section as the schema loaded it; a key that is not there, or null, has its default."""
        given = {name: value for name, value in section.items() if value is not None}
        given["models"] = tuple(given.get("models", ()))
        return cls(**given)
