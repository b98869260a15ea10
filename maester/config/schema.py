"""The one schema of the configuration: what may stand in ``maester.toml``, and its defaults.

It checks, it is what the JSON Schema is written from, and the documentation is held to it. Defaults
are those of `maester.settings`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from marshmallow import ValidationError, validates_schema

from ..settings import (
    EvaluateSettings,
    JobSettings,
    LedgerSettings,
    LogSettings,
    Settings,
)
from .fields import (
    Address,
    Amount,
    Checks,
    Choice,
    Flag,
    Moment,
    Names,
    Seconds,
    Section,
    Text,
    Whole,
    defaults_of,
)
from .metrics_schema import MetricsSection
from .model_schema import MODEL_NAME, ModelSection
from .provider_schema import PROVIDER_NAME, ProviderSection
from .resilience_schema import ResilienceSection
from .saved_schema import CacheSection, IdempotencySection
from .server_schema import ServerSection
from .tables import NamedTables, Table, TableList

PER_MILLION = (
    "input",
    "output",
    "cache_read",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "cache_read_audio",
    "output_audio",
    "input_image",
    "output_image",
)
"""Units of ``[[prices]]`` that are counted in tokens and priced per 1,000,000 of them."""

PER_ONE = ("request", "web_search")
"""Units of ``[[prices]]`` that are priced each."""

PRICE_DECIMALS = 12
"""Decimals of a price per single unit that the price book keeps."""

_LEDGER = defaults_of(LedgerSettings)
_LOG = defaults_of(LogSettings)
_JOBS = defaults_of(JobSettings)
_EVALUATE = defaults_of(EvaluateSettings)


class LedgerSection(Section):
    """``[ledger]``"""

    url = Address(
        "Database of the ledger, as a SQLAlchemy address; a SQLite file in `data_dir` unless set.",
        "postgresql+psycopg",
        "postgresql",
        "postgres",
        local=("sqlite",),
        example="postgresql://user:password@host/database",
        load_default=_LEDGER["url"],
    )
    flush_interval_s = Seconds(
        "Seconds between two batches written from the journal to the ledger; under load five times as long.",
        high=3600,
        load_default=_LEDGER["flush_interval_s"],
    )
    segment_bytes = Whole(
        "Size in bytes at which a journal file is closed and the next one begun.",
        4096,
        2**40,
        load_default=_LEDGER["segment_bytes"],
    )
    journal_max_bytes = Whole(
        "Bytes that all journals may have while the ledger cannot be written.",
        2 * 4096,
        2**50,
        load_default=_LEDGER["journal_max_bytes"],
    )
    journal_max_age_s = Seconds(
        "Seconds that what is settled may wait in the journal while the ledger cannot be written.",
        high=365 * 86_400,
        load_default=_LEDGER["journal_max_age_s"],
    )
    journal_overflow = Choice(
        "What becomes of new requests at those bounds: `refuse` answers with 503, `serve` serves them without"
        " a record, and counts them.",
        "refuse",
        "serve",
        load_default=_LEDGER["journal_overflow"],
    )
    keep_days = Whole(
        "Days after which inferences are deleted with everything that is recorded of them; never unless set.",
        1,
        36_500,
        load_default=_LEDGER["keep_days"],
    )

    @validates_schema
    def _check_bound(self, data: dict[str, Any], **_: Any) -> None:
        if data["journal_max_bytes"] < 2 * data["segment_bytes"]:
            raise ValidationError({"journal_max_bytes": ["must be at least twice ledger.segment_bytes"]})


class LogSection(Section):
    """``[log]``"""

    level = Choice(
        "Least level that is logged.",
        "debug",
        "info",
        "warning",
        "error",
        "critical",
        load_default=_LOG["level"],
    )
    spans = Choice(
        "Which `span_end` lines are logged: none, those of stages, or all.",
        "none",
        "stage",
        "all",
        load_default=_LOG["spans"],
    )
    inferences = Flag("Whether `inference_end` lines are logged.", load_default=_LOG["inferences"])
    capture = Choice(
        "Whether messages and answers are kept in the ledger.", "full", "none", load_default=_LOG["capture"]
    )


class StagesSection(Section):
    """``[stages]``"""

    disabled = Names("Stages of the chain that do not run.", load_default=list)


class EvaluateSection(Section):
    """``[evaluate]``"""

    checks = Checks("Checks where neither the model nor the request says any.", load_default=list)
    on_failure = Choice(
        "What a failed check does: `observe` records it, `block` also refuses the answer with 422.",
        "observe",
        "block",
        load_default=_EVALUATE["on_failure"],
    )
    timeout_s = Seconds(
        "Seconds that an evaluator of a plugin may take for one answer, unless it has a limit of its own.",
        load_default=_EVALUATE["timeout_s"],
    )


class PriceSection(Section):
    """``[[prices]]``: what one model costs, from when on, and under which conditions."""

    provider = Text(
        "Whose price it is: a provider family, as in `price_as`, or a provider's own name.", required=True
    )
    model = Text("The model's name, or a pattern as `match` says.", required=True)
    match = Choice("How `model` is compared.", "exact", "prefix", "regex", load_default="exact")
    valid_from = Moment("First moment of validity; ever since unless set.", load_default=None)
    valid_to = Moment("First moment of no validity any more; until replaced unless set.", load_default=None)
    service_tier = Text(
        "Billed tier that the price is for, such as `flex` or `batch`; standard unless set.",
        load_default=None,
    )
    above_input_tokens = Whole(
        "The price is for requests with more input tokens than this.", 0, 2**40, load_default=0
    )
    input = Amount("USD per 1,000,000 input tokens.")
    output = Amount("USD per 1,000,000 output tokens.")
    cache_read = Amount("USD per 1,000,000 input tokens read from the provider's cache.")
    cache_write = Amount("USD per 1,000,000 input tokens written to the provider's cache.")
    cache_write_1h = Amount("USD per 1,000,000 input tokens written to the cache for one hour.")
    reasoning = Amount("USD per 1,000,000 reasoning tokens, where they cost other than output.")
    input_audio = Amount("USD per 1,000,000 audio tokens of the input.")
    cache_read_audio = Amount("USD per 1,000,000 audio tokens read from the provider's cache.")
    output_audio = Amount("USD per 1,000,000 audio tokens of the output.")
    input_image = Amount("USD per 1,000,000 image tokens of the input.")
    output_image = Amount("USD per 1,000,000 image tokens of the output.")
    request = Amount("USD per request.")
    web_search = Amount("USD per web search that the provider made.")

    @validates_schema(skip_on_field_errors=False, pass_original=True)
    def _check_prices(self, data: dict[str, Any], written: Any, **_: Any) -> None:
        """At least one price, none finer than is kept, a period that ends after it begins."""
        if not isinstance(written, Mapping):
            return
        errors: dict[str, list[str]] = {}
        units = (*PER_MILLION, *PER_ONE)
        priced = [name for name in units if name in data]
        if not any(name in written for name in units):
            raise ValidationError("has no price; give at least one, such as input = 0.15 and output = 0.6")
        for name in priced:
            limit = PRICE_DECIMALS - (6 if name in PER_MILLION else 0)
            if decimals(data[name]) > limit:
                errors[name] = [f"must have at most {limit} decimals"]
        if data.get("match") == "regex" and "model" in data:
            try:
                re.compile(data["model"])
            except re.error as exc:
                errors["model"] = [f"must be a regular expression, as match says: {exc}"]
        start, end = data.get("valid_from"), data.get("valid_to")
        if start is not None and end is not None and end <= start:
            errors["valid_to"] = ["must be after valid_from"]
        if errors:
            raise ValidationError(errors)


def decimals(amount: Decimal) -> int:
    """How many decimals an amount needs to be written exactly, whatever the decimal context."""
    _, digits, exponent = amount.as_tuple()
    written = "".join(map(str, digits))
    trailing = len(written) - len(written.rstrip("0"))
    return max(0, -(int(exponent) + trailing)) if amount else 0


class PluginsSection(Section):
    """``[plugins]``"""

    disabled = Names("Plugins (entry-point names) that are not loaded.", load_default=list)
    required = Names("Plugins (entry-point names) without which nothing starts.", load_default=list)

    @validates_schema
    def _check_both(self, data: dict[str, Any], **_: Any) -> None:
        for index, name in enumerate(data["required"]):
            if name in data["disabled"]:
                raise ValidationError({"required": {index: [f"{name!r} is also in plugins.disabled"]}})


class JobsSection(Section):
    """``[jobs]``"""

    redis_url = Address(
        "Redis that holds the queue; unless set, the one that `maester worker --embedded` runs, else"
        " `redis://127.0.0.1:6379/0`.",
        "redis",
        "rediss",
        local=("unix",),
        example="redis://user:password@host:6379/0",
        load_default=_JOBS["redis_url"],
    )
    embedded = Flag(
        "Whether only the Redis of `maester worker --embedded` is used.", load_default=_JOBS["embedded"]
    )
    concurrency = Whole(
        "Inferences under way at once in one worker process.", 1, 1024, load_default=_JOBS["concurrency"]
    )
    chunk_size = Whole(
        "Items of a job that one process takes up together.", 1, 10_000, load_default=_JOBS["chunk_size"]
    )
    chunks_queued = Whole(
        "Chunks of one job that are in the queue at once, so that a large job does not keep a small one"
        " waiting.",
        1,
        10_000,
        load_default=_JOBS["chunks_queued"],
    )
    timeout_s = Seconds(
        "Seconds after which a job that is not done fails, unless it says otherwise.",
        high=30 * 86_400,
        load_default=_JOBS["timeout_s"],
    )
    grace_s = Seconds(
        "Seconds that items in flight are given when a worker is told to end.",
        zero=True,
        load_default=_JOBS["grace_s"],
    )
    lease_s = Seconds(
        "Seconds after which a chunk is taken from a worker that gives no sign of life.",
        load_default=_JOBS["lease_s"],
    )
    tries = Whole(
        "How often an item is tried that fails for a reason that may pass.",
        1,
        100,
        load_default=_JOBS["tries"],
    )
    max_items = Whole(
        "Most items of a job that is not made from a file.", 1, 10_000_000, load_default=_JOBS["max_items"]
    )
    max_body_bytes = Whole(
        "Largest body of a job, and largest file, in bytes.", 1, 2**40, load_default=_JOBS["max_body_bytes"]
    )
    keep_days = Whole(
        "Days after which items and results of an ended job, and files, are deleted.",
        1,
        36_500,
        load_default=_JOBS["keep_days"],
    )
    webhook_secret = Text(
        "With what webhooks are signed (`whsec_` and base64, as in Standard Webhooks); none are sent"
        " without it.",
        secret=True,
        load_default=_JOBS["webhook_secret"],
    )
    webhook_hosts = Names(
        "Hosts of this machine and of private networks that webhooks may go to; public ones always may.",
        load_default=list,
    )


class Configuration(Section):
    """The whole of ``maester.toml``, but for the sections of plugins."""

    data_dir = Text(
        "Folder of the embedded ledger and the journal, relative to the working folder; `~` is your home.",
        load_default=str(defaults_of(Settings)["data_dir"]),
    )
    server = Table(ServerSection, "How the HTTP service listens and what it accepts.")
    ledger = Table(LedgerSection, "Where the durable record is.")
    log = Table(LogSection, "What is logged, and how much content is kept.")
    stages = Table(StagesSection, "The chain's stages.")
    providers = NamedTables(
        ProviderSection,
        "Providers, each under a name of your choice.",
        name='a name of letters, digits, ".", "_" and "-", at most 64 long',
        pattern=PROVIDER_NAME,
    )
    models = NamedTables(
        ModelSection,
        "Names that callers use, and what stands behind each.",
        name="a name without white space, at most 200 long",
        pattern=MODEL_NAME,
    )
    evaluate = Table(EvaluateSection, "What is checked where neither the model nor the request says.")
    resilience = Table(ResilienceSection, "What is done when a provider fails.")
    prices = TableList(PriceSection, "Prices that win over every other source.")
    plugins = Table(PluginsSection, "What may load.")
    jobs = Table(JobsSection, "Background work.")
    cache = Table(CacheSection, "Bounds of the response cache, which models turn on.")
    idempotency = Table(IdempotencySection, "Requests that are sent again and run once.")
    metrics = Table(MetricsSection, "What Prometheus reads.")


CONFIGURATION = Configuration()
