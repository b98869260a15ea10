"""The part of the schema that is about providers, and what each type of provider may be told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, post_load, validates_schema

from ..settings import ProviderSettings
from .fields import Choice, Flag, Names, Seconds, Section, ServiceAddress, Text, Whole, defaults_of
from .tables import FreeTable, Headers, ReportedUsage

PROVIDER_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"

_PROVIDER = defaults_of(ProviderSettings)


class CommonOptions(Section):
    """What every provider that is reached over HTTP may be told."""

    headers = Headers("Headers to send with every call.")


class CompatibleOptions(CommonOptions):
    """What everything that speaks OpenAI's format may be told."""

    stream_usage = Flag(
        "Whether usage is asked for at the end of a stream (it is, unless set); `false` for a server that "
        "refuses to be asked, whose usage is then estimated."
    )
    done_marker = Flag(
        "Whether a stream without `[DONE]` at its end counts as cut off (it does, unless set); `false` for "
        "a server that never sends it."
    )


class OpenAIOptions(CompatibleOptions):
    """``options`` of type ``openai``"""

    organization = Text("Sent as `OpenAI-Organization`.")
    project = Text("Sent as `OpenAI-Project`.")


class AzureOptions(CompatibleOptions):
    """``options`` of type ``azure``"""

    api_version = Text(
        "A date selects the older form of address; unless set, and with `v1`, `preview` or `latest`, the "
        "newer form `/openai/v1` is used.",
        'a version such as "2024-10-21", "v1" or "preview"',
        pattern=r"[A-Za-z0-9-]+",
    )
    auth = Choice(
        "How `api_key` is sent (`api-key` unless set); `bearer` for a Microsoft Entra token.",
        "api-key",
        "bearer",
    )


class TranslatedOptions(CommonOptions):
    """What providers with a format of their own may be told."""

    passthrough = Names("Parameters to send on although Maester does not know them.")


class AnthropicOptions(TranslatedOptions):
    """``options`` of type ``anthropic``"""

    version = Text("The `anthropic-version` to send; the one that fits the request unless set.")
    beta = Names("Beta features, sent as `anthropic-beta`.")
    max_tokens = Whole("`max_tokens` for callers who name none (4096 unless set).", 1, 10_000_000)


class EchoOptions(Section):
    """``options`` of type ``echo``"""

    delay_s = Seconds("Seconds before the answer, or before the first piece of it.", zero=True, high=3600)
    chunk_delay_s = Seconds("Seconds between two pieces of a stream.", zero=True, high=3600)
    fail = Choice(
        "A failure instead of an answer.",
        "rate_limited",
        "unavailable",
        "timeout",
        "auth",
        "rejected",
        "bad_response",
    )
    truncate = Whole(
        "Break off after so many pieces; any number makes an answer in one piece malformed.", 0, 10**6
    )
    output = Text("What to say instead of repeating the user.")
    usage = ReportedUsage("Token counts to report instead of the true ones; `false` to report none.")
    dimensions = Whole("Length of embeddings where the request asks for none (256 unless set).", 1, 4096)


OPTIONS: Mapping[str, Schema] = {
    "openai": OpenAIOptions(),
    "azure": AzureOptions(),
    "anthropic": AnthropicOptions(),
    "gemini": TranslatedOptions(),
    "ollama": TranslatedOptions(),
    "echo": EchoOptions(),
}
"""What each type of provider may be told in ``options``."""

TYPES = tuple(OPTIONS)
"""Types of provider, which are also the names under which no ``type`` needs to be said."""

_NEEDS = {
    "openai": (("api_key", "base_url"), "OPENAI_API_KEY"),
    "anthropic": (("api_key", "base_url"), "ANTHROPIC_API_KEY"),
    "gemini": (("api_key", "base_url"), "GEMINI_API_KEY"),
}
"""Type → settings of which one must be there, and the variable that usually has the first."""


class ProviderSection(Section):
    """``[providers.NAME]``"""

    enabled = Flag("Whether the provider is on.", load_default=True)
    type = Choice(
        "Protocol that the provider speaks; may be left out where the table's name is one of them.",
        *TYPES,
        required=True,
    )
    base_url = ServiceAddress(
        "Where the provider is; the type's public address unless set.", load_default=None
    )
    api_key = Text("Credential for the provider.", secret=True, load_default=None)
    models = Names(
        "Models to list and to route to by bare name, beside those in the price book.", load_default=list
    )
    price_as = Text(
        "Provider family under which prices are looked up; that of a known host, or the type's own,"
        " unless set.",
        load_default=_PROVIDER["price_as"],
    )
    connect_timeout_s = Seconds("Seconds to connect.", load_default=_PROVIDER["connect_timeout_s"])
    first_byte_timeout_s = Seconds(
        "Seconds from having sent the request to the first byte of the answer.",
        load_default=_PROVIDER["first_byte_timeout_s"],
    )
    idle_timeout_s = Seconds(
        "Longest silence inside an answer, in seconds.", load_default=_PROVIDER["idle_timeout_s"]
    )
    total_timeout_s = Seconds(
        "Seconds for one attempt in all, streams included.", load_default=_PROVIDER["total_timeout_s"]
    )
    max_connections = Whole(
        "Connections held open to the provider.", 1, 65_535, load_default=_PROVIDER["max_connections"]
    )
    max_in_flight = Whole(
        "Calls under way at once from one process; any number unless set.",
        1,
        1_000_000,
        load_default=_PROVIDER["max_in_flight"],
    )
    max_waiting = Whole(
        "Calls that wait when as many are under way; those beyond are refused with 503 at once.",
        0,
        1_000_000,
        load_default=_PROVIDER["max_waiting"],
    )
    max_wait_s = Seconds("Seconds that a call waits at most.", load_default=_PROVIDER["max_wait_s"])
    options = FreeTable("What only this type of provider knows.")

    @validates_schema(skip_on_field_errors=False)
    def _check_type(self, data: dict[str, Any], **_: Any) -> None:
        """What depends on the type: its options, and what it cannot do without."""
        kind = data.get("type")
        if kind is None or not data.get("enabled", True):
            return
        errors: dict[str, Any] = {}
        if kind in _NEEDS:
            either, variable = _NEEDS[kind]
            if all(data.get(name) is None for name in either):
                errors["api_key"] = [
                    f'is missing; set {variable}, or write api_key = "${{{variable}}}", or base_url for a '
                    "server that needs no key"
                ]
        elif kind == "azure":
            for name, variable in (
                ("base_url", "AZURE_OPENAI_ENDPOINT"),
                ("api_key", "AZURE_OPENAI_API_KEY"),
            ):
                if data.get(name) is None:
                    errors[name] = [f'is missing; set {variable}, or write {name} = "${{{variable}}}"']
        wrong = OPTIONS[kind].validate(data.get("options") or {})
        if wrong:
            errors["options"] = wrong
        if errors:
            raise ValidationError(errors)

    @post_load
    def _read_options(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Options as their own schema reads them; those of a provider that is off are left alone."""
        if data["enabled"]:
            data["options"] = OPTIONS[data["type"]].load(data["options"])
        return data
