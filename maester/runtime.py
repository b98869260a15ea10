"""The runtime: the one way in for HTTP, jobs, the command line and embedders."""

from __future__ import annotations

import logging
import os
import threading
import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType

from . import config as configuration
from . import incidents
from .chain import Chain, InferenceStream
from .contracts import Slot
from .database import Database
from .errors import ConfigError, LedgerError
from .ledger.answers import SavedAnswers
from .ledger.cache import AnswerCache
from .ledger.keys import KeyStore
from .ledger.queries import Ledger
from .model import NOTHING, Caller, Inference, Request
from .plugins import PluginLoader, Registry
from .pricing import PriceBook, price_family
from .router import Router
from .settings import Settings

BUILTINS = (
    "maester.providers",
    "maester.pricing",
    "maester.evaluators",
    "maester.stages",
    "maester.ledger",
    "maester.logs",
    "maester.metrics",
)


log = logging.getLogger(__name__)

PRICE_CHECK_S = 5.0
"""Seconds between two looks at whether another process has updated the price book."""


class Runtime:
    """Plugins, configuration, price book, ledger and chain of one process, put together once.

    Safe to share between threads and greenlets, and to build before forking: what must belong to
    one process (the journal, connections, threads) is opened by the first request of each.
    """

    def __init__(self, settings: Settings, registry: Registry) -> None:
        """Put the parts together; `build` is the usual way.

        :raises ConfigError: when the configuration names something that no plugin brings, or disables
            every stage that calls a provider.
        """
        configuration.check_names(
            settings,
            providers=registry.providers,
            stages=[placed.stage.name for placed in registry.stages],
            evaluators=registry.evaluators,
        )
        enabled = [p for p in registry.stages if p.stage.name not in settings.disabled_stages]
        if all(placed.slot != Slot.GATEWAY for placed in enabled):
            raise ConfigError(
                "[stages] disabled leaves no stage that calls a provider; take 'gateway' off the list.",
                param="stages.disabled",
            )
        self.settings = settings
        self.registry = registry
        self.database = Database(settings.ledger_url)
        self.database.prepare()
        self.ledger = Ledger(self.database)
        self.keys = KeyStore(self.database)
        self.answers = SavedAnswers(self.database, settings.cache.max_answers)
        self.cache = AnswerCache(settings, self.answers)
        self.price_book = PriceBook(self.database)
        self.price_book.fill_if_empty(registry.pricing)
        families = {
            name: price_family(settings.providers[name])
            if name in settings.providers
            else getattr(provider, "price_as", name)
            for name, provider in registry.providers.items()
        }
        self.router = Router(settings, registry.providers, families, self.price_book)
        self.chain = Chain(enabled)
        self._started = False
        self._closed = threading.Event()
        _live.add(self)
        for part in (*registry.sinks, *(placed.stage for placed in enabled)):
            bind = getattr(part, "bind", None)
            if bind is not None:
                bind(self)

    @classmethod
    def build(
        cls,
        config: str | Path | None = None,
        *,
        settings: Settings | None = None,
        environ: Mapping[str, str] | None = None,
        plugins: Iterable[object] = (),
    ) -> Runtime:
        """Load plugins and configuration and put everything together.

        :param config: path of a ``maester.toml``; else ``MAESTER_CONFIG``, else one in the working
            folder, else defaults and the environment.
        :param settings: a configuration made in code, instead of all that.
        :param environ: the environment, for tests; the process's own unless given.
        :param plugins: plugins of the program's own beside the installed ones: modules or objects with
            functions or methods marked `hookimpl`. They are counted on: one that fails stops the start.
        :raises ConfigError: with every problem found in the configuration.
        :raises PluginLoadError: when one of `plugins`, or a plugin that the configuration names, does
            not load.
        :raises LedgerError: when the ledger cannot be opened.
        """
        loader = PluginLoader(BUILTINS)
        if settings is None:
            loader.discover(configuration.disabled_plugins(config, environ), plugins)
            settings = configuration.load(config, environ, loader.sections())
        else:
            loader.discover(settings.plugins.disabled, plugins)
            loader.sections()
        return cls(settings, loader.register(settings))

    def start(self) -> None:
        """Open what belongs to this process alone: the journal and its writer, the price watch.

        The first request does so too; a server calls it before, so that what dead processes left
        behind is taken up at once and not at the first request.
        """
        self._started = True
        incidents.log_left_out(self.registry.plugins)
        for sink in self.registry.sinks:
            start = getattr(sink, "start", None)
            if start is not None:
                start()
        threading.Thread(target=self._watch_prices, name="maester-prices", daemon=True).start()

    def execute(
        self,
        request: Request,
        *,
        entry_point: str = "python",
        alias: str | None = None,
        caller: Caller | None = None,
        headers: Mapping[str, str] = NOTHING,
        job_id: str | None = None,
        request_id: str | None = None,
    ) -> Inference:
        """Pass one request through the chain.

        Never raises because the request failed: see ``error`` of what is returned, or call its
        ``raise_for_error()``.

        :param entry_point: ``http``, ``job``, ``cli`` or ``python``.
        :param alias: the caller's own id of the request, by which it can be found again.
        :param caller: whose key it came with.
        :param headers: the caller's ``traceparent`` and ``tracestate``, lowercase, if it sent any.
        :param job_id: the job it belongs to.
        :param request_id: a request id that was made before (`maester.ids.request_id`), by a caller who
            notes it before the request begins; a new one unless given.
        """
        return self.run(
            Inference(
                request,
                entry_point=entry_point,
                alias=alias,
                caller=caller,
                headers=headers,
                job_id=job_id,
                request_id=request_id,
            )
        )

    def run(self, inference: Inference) -> Inference:
        """Pass an inference through the chain that was opened by whoever asks; `execute` opens one itself."""
        if not self._started:
            self.start()
        return self.chain.run(inference)

    def stream(
        self,
        request: Request,
        *,
        entry_point: str = "python",
        alias: str | None = None,
        caller: Caller | None = None,
        headers: Mapping[str, str] = NOTHING,
        job_id: str | None = None,
    ) -> InferenceStream:
        """Pass one request through the chain and read its answer in pieces.

        On return the first piece is here, or ``inference.error`` says why there is none. Iterate to
        the end or call ``close()``; after either the inference is complete and recorded.
        Parameters are those of `execute`.
        """
        if not self._started:
            self.start()
        inference = Inference(
            request, entry_point=entry_point, alias=alias, caller=caller, headers=headers, job_id=job_id
        )
        return self.chain.stream(inference)

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything settled so far is in the ledger; whether it came to that in time."""
        return all(sink.flush(timeout_s) for sink in self.registry.sinks if hasattr(sink, "flush"))

    def close(self) -> None:
        """Flush and release everything. The runtime is not to be used afterwards."""
        if self._closed.is_set():
            return
        self._closed.set()
        for part in (*self.registry.sinks, *self.registry.providers.values(), self.database):
            close = getattr(part, "close", None)
            if close is not None:
                close()

    def _watch_prices(self) -> None:
        while not self._closed.wait(PRICE_CHECK_S):
            try:
                if self.price_book.refresh():
                    self.router.refresh()
            except LedgerError as exc:
                log.warning("The price book could not be checked for an update: %s", exc)

    def __enter__(self) -> Runtime:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


_live: weakref.WeakSet[Runtime] = weakref.WeakSet()


def _after_fork() -> None:
    """A forked child starts its own threads; its parent's did not come along."""
    for runtime in tuple(_live):
        runtime._started = False


os.register_at_fork(after_in_child=_after_fork)
