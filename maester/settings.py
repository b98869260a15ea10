"""The configuration as frozen values. How they are read and checked is in `maester.config`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .contracts import Price
from .model import Check

OnFailure = Literal["observe", "block"]
Balance = Literal["weighted", "least_busy", "latency"]


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """``[server]``: how the HTTP service listens and what it accepts."""

    host: str = "127.0.0.1"
    port: int = 8000
    workers: int = 1
    worker_class: str = "gevent"
    threads: int = 8
    """Threads of one worker, for ``worker_class = "gthread"``."""
    connections: int = 2000
    """Connections of one worker, for ``worker_class = "gevent"``."""
    graceful_timeout_s: float = 30.0
    keep_alive_s: float = 65.0
    """Seconds for which a connection is kept for a next request; longer than load balancers do, so that it
    is they who close it."""
    head_timeout_s: float = 30.0
    """Seconds from connecting until the first request's head is whole, with a ``gevent`` worker."""
    body_timeout_s: float = 30.0
    """Seconds in which a body must have come."""
    body_bytes_per_s: int = 1000
    """Bytes of a body that give it another second."""
    send_timeout_s: float = 60.0
    """Seconds for which a client may read nothing of what is sent to it."""
    max_body_bytes: int = 10_000_000
    max_json_depth: int = 64
    on_disconnect: Literal["cancel", "drain"] = "cancel"
    """What becomes of a stream whose client hung up: its provider is cancelled, or read to the end."""


@dataclass(frozen=True, slots=True)
class LedgerSettings:
    """``[ledger]``: where the durable record is."""

    url: str | None = None
    """SQLAlchemy address; ``None`` for ``ledger.db`` in the data folder."""
    flush_interval_s: float = 0.1
    """Seconds between two batches written to the ledger."""
    segment_bytes: int = 8_000_000
    """Size at which a journal segment is closed and the next one opened."""
    journal_max_bytes: int = 2_000_000_000
    """Bytes of all journals from which on nothing new is written to them."""
    journal_max_age_s: float = 86_400.0
    """Seconds that what is settled may wait for the database until nothing new is written."""
    journal_overflow: Literal["refuse", "serve"] = "refuse"
    """Whether requests are then refused, or served without a record."""
    keep_days: int | None = None
    """Days after which inferences are deleted; ``None`` for never."""


@dataclass(frozen=True, slots=True)
class LogSettings:
    """``[log]``: what goes to the log, and how much content is kept."""

    level: str = "info"
    spans: Literal["none", "stage", "all"] = "stage"
    """Which ``span_end`` lines are written: none, those of stages, or every span."""
    inferences: bool = True
    """Whether ``inference_end`` lines are written."""
    capture: Literal["full", "none"] = "full"
    """Whether messages and answers are kept in the ledger."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """``[providers.NAME]``: one place that answers requests."""

    name: str
    type: str
    """``openai``, ``azure``, ``anthropic``, ``gemini``, ``ollama`` or ``echo``."""
    base_url: str | None = None
    api_key: str | None = field(default=None, repr=False)
    models: tuple[str, ...] = ()
    """Models to list and to route to by bare name, beside those that the price book knows."""
    price_as: str | None = None
    """Provider family under which prices are looked up; that of a known host, or the type's, unless given."""
    connect_timeout_s: float = 5.0
    first_byte_timeout_s: float = 120.0
    """Seconds from having sent the request to the first byte of the answer."""
    idle_timeout_s: float = 120.0
    """Longest silence, in seconds, inside an answer."""
    total_timeout_s: float = 600.0
    max_connections: int = 256
    """Idle connections kept for the next calls; more are opened when needed, and closed after use."""
    max_in_flight: int | None = None
    """Calls under way at once from one process; ``None`` for any number."""
    max_waiting: int = 0
    """Calls that may wait for one of these to end."""
    max_wait_s: float = 5.0
    """Seconds that they wait at most."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What only this type knows (``api_version`` for Azure; ``delay_s``, ``fail`` … for echo)."""


@dataclass(frozen=True, slots=True)
class Fallback:
    """One entry of a model's ``fallbacks``.

    :param model: an alias, or ``provider/model``.
    :param on: ``failure``, or ``context`` for conversations that are too long for the model before.
    """

    model: str
    on: Literal["failure", "context"] = "failure"


@dataclass(frozen=True, slots=True)
class DeploymentSettings:
    """``[[models.ALIAS.deployments]]``: one of several places where a model is."""

    provider: str
    model: str
    weight: int = 1
    """Its part of the requests; 0 for one that is asked only when others fail."""


@dataclass(frozen=True, slots=True)
class Hedge:
    """``hedge`` of a model: when a second call is made beside one that does not answer.

    :param quantile: as soon as the first has been silent for longer than this part of the recent calls.
    :param after_s: or for so many seconds.
    :param share: hedges for each recent request of the model, at most.
    """

    quantile: float | None = None
    after_s: float | None = None
    share: float = 0.1


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """``[models.ALIAS]``: a name that callers use, and what stands behind it."""

    alias: str
    provider: str
    model: str
    checks: tuple[Check, ...] | None = None
    """``None`` for those of ``[evaluate]``; empty for none at all."""
    on_failure: OnFailure | None = None
    cache_s: float | None = None
    """Seconds for which the same request gets the same answer again; ``None`` for never."""
    cache_shared: bool = False
    """Whether callers with different keys get each other's answers."""
    fallbacks: tuple[Fallback, ...] = ()
    """Who is asked next, in order."""
    deployments: tuple[DeploymentSettings, ...] = ()
    """Where the model is, if in several places; ``provider`` and ``model`` are then the first's."""
    balance: Balance = "weighted"
    sticky: str | None = None
    """A tag whose value decides on the deployment."""
    hedge: Hedge | None = None
    """``None`` for one call at a time."""


@dataclass(frozen=True, slots=True)
class CacheSettings:
    """``[cache]``: bounds of the response cache, which models turn on."""

    max_answer_bytes: int = 1_000_000
    """Size of the largest answer that is kept."""
    max_answers: int = 100_000
    """How many are kept; the oldest go first."""


@dataclass(frozen=True, slots=True)
class IdempotencySettings:
    """``[idempotency]``: whether ``Idempotency-Key`` is read on requests for inferences."""

    enabled: bool = False
    keep_s: float = 86_400.0
    """Seconds for which a request is remembered by its key."""
    max_answer_bytes: int = 10_000_000
    """Size of the largest answer that is kept."""


@dataclass(frozen=True, slots=True)
class ResilienceSettings:
    """``[resilience]``: what is done when a provider fails."""

    retries: int = 2
    """How often a model is asked again."""
    retry_budget: float = 0.1
    """Retries for each recent request, at most."""
    first_delay_s: float = 0.5
    """Longest pause before the first retry; it doubles with each."""
    max_delay_s: float = 8.0
    """Longest pause before any retry, also if the provider asks for it."""
    timeout_s: float | None = None
    """Seconds for a whole request with all its attempts; a caller may ask for less."""
    breaker: bool = True
    """Whether a deployment that fails is left alone for a while."""
    breaker_failure_rate: float = 0.5
    """Share of failures in the window at which nobody asks any more."""
    breaker_minimum: int = 10
    """Requests in the window without which nothing is concluded from the share."""
    breaker_window_s: float = 10.0
    breaker_open_s: float = 5.0
    """Seconds before the first probe; they double with each one that fails."""


@dataclass(frozen=True, slots=True)
class EvaluateSettings:
    """``[evaluate]``: what is checked where neither the model nor the request says."""

    checks: tuple[Check, ...] = ()
    on_failure: OnFailure = "observe"
    timeout_s: float = 30.0
    """Seconds that an evaluator of a plugin may take for one answer."""


@dataclass(frozen=True, slots=True)
class PluginSettings:
    """``[plugins]``: what may load."""

    disabled: tuple[str, ...] = ()
    """Entry-point names not to load."""
    required: tuple[str, ...] = ()
    """Entry-point names without which nothing starts."""


@dataclass(frozen=True, slots=True)
class MetricsSettings:
    """``[metrics]``: what Prometheus reads."""

    open: bool = False
    """Whether ``GET /metrics`` needs no key."""
    tags: tuple[str, ...] = ()
    """Tags by whose values requests and cost are counted, too."""
    worker_port: int | None = None
    """Port at which ``maester worker`` answers ``GET /metrics``; ``None`` for not at all."""
    worker_host: str = "127.0.0.1"
    """Address that it listens on."""


@dataclass(frozen=True, slots=True)
class JobSettings:
    """``[jobs]``: background work."""

    redis_url: str | None = field(default=None, repr=False)
    """Where the queue is. ``None`` for the Redis that ``maester worker --embedded`` runs, if it has
    been started in this data folder, else the one at 127.0.0.1:6379."""
    embedded: bool = False
    """Whether only the embedded Redis will do."""
    concurrency: int = 16
    """Inferences under way at once in one worker process."""
    chunk_size: int = 500
    """Items of a job that one process takes up together."""
    chunks_queued: int = 8
    """Chunks of one job that wait in the queue at once, so that a large job does not block a small one."""
    timeout_s: float = 86_400.0
    """Seconds after which a job that is not done fails, unless it says otherwise."""
    grace_s: float = 30.0
    """Seconds that items in flight are given when a worker is told to end."""
    lease_s: float = 30.0
    """Seconds after which a chunk is taken from a worker that has given no sign of life."""
    tries: int = 5
    """How often an item is tried that fails for a reason that may pass."""
    max_items: int = 100_000
    """Most items of a job that is not made from a file."""
    max_body_bytes: int = 209_715_200
    """Largest body of a job, and largest file, in bytes."""
    keep_days: int = 30
    """Days after which an ended job's items and results, and files, are deleted."""
    webhook_secret: str | None = field(default=None, repr=False)
    """With what webhooks are signed; without it none are sent."""
    webhook_hosts: tuple[str, ...] = ()
    """Hosts of private networks that webhooks may go to; public ones always may."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration, checked.

    :ivar data_dir: where the embedded ledger and the journal are.
    :ivar disabled_stages: names of stages that do not run.
    :ivar prices: ``[[prices]]``, which win over every other source.
    :ivar sections: validated sections that plugins declared, by name; defaults where nothing is set.
    :ivar named_sections: those of them that the file or the environment names, and so counts on;
        ``None`` for all.
    :ivar origins: dotted key → where its value came from (``default``, a file, a variable).
    :ivar secrets: every secret value in the configuration, for redaction.
    :ivar source: the file that was read, if any.
    """

    data_dir: Path = Path("maester-data")
    server: ServerSettings = ServerSettings()
    ledger: LedgerSettings = LedgerSettings()
    log: LogSettings = LogSettings()
    disabled_stages: tuple[str, ...] = ()
    providers: Mapping[str, ProviderSettings] = field(default_factory=dict)
    models: Mapping[str, ModelSettings] = field(default_factory=dict)
    prices: tuple[Price, ...] = ()
    evaluate: EvaluateSettings = EvaluateSettings()
    resilience: ResilienceSettings = ResilienceSettings()
    plugins: PluginSettings = PluginSettings()
    jobs: JobSettings = JobSettings()
    cache: CacheSettings = CacheSettings()
    idempotency: IdempotencySettings = IdempotencySettings()
    metrics: MetricsSettings = MetricsSettings()
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    named_sections: frozenset[str] | None = None
    origins: Mapping[str, str] = field(default_factory=dict, repr=False)
    secrets: frozenset[str] = field(default=frozenset(), repr=False)
    source: Path | None = None

    @property
    def ledger_url(self) -> str:
        """The ledger's SQLAlchemy address, the embedded one where none is configured."""
        return self.ledger.url or f"sqlite:///{self.data_dir / 'ledger.db'}"

    @property
    def keeps_content(self) -> bool:
        """Whether messages and answers are on record, to be read again later."""
        return self.log.capture == "full" and "log" not in self.disabled_stages

    @property
    def journal_dir(self) -> Path:
        return self.data_dir / "journal"
