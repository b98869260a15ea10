"""Which provider answers for a model's name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol

from .contracts import Provider
from .errors import Forbidden, InvalidRequest, UnknownModel
from .model import Caller
from .settings import Balance, ModelSettings, ProviderSettings, Settings

_LONGEST_NAME = 256
_CACHE_SIZE = 4096

_VARIABLES = {
    "openai": "OPENAI_API_KEY",
    "azure": "AZURE_OPENAI_API_KEY and AZURE_OPENAI_ENDPOINT",
    "anthropic": "ANTHROPIC_API_KEY",
    "google": "GEMINI_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "ollama": "OLLAMA_HOST",
}


class KnownModels(Protocol):
    """What routing asks of the price book."""

    def providers_of(self, model: str) -> Iterable[str]:
        """Provider families that have a price for a bare model name."""
        ...

    def models_of(self, family: str) -> Iterable[str]:
        """Every model name priced for a provider family."""
        ...


@dataclass(frozen=True, slots=True)
class Route:
    """Where a request goes.

    :param alias: the configured alias it was asked under, if any.
    :param provider: the provider object; ``name`` is its configured name.
    :param family: the provider family under which it is priced.
    :param model: the model's name at the provider.
    """

    alias: str | None
    name: str
    provider: Provider
    family: str
    model: str

    @property
    def address(self) -> str:
        """``provider/model``: the one unambiguous name."""
        return f"{self.name}/{self.model}"


@dataclass(frozen=True, slots=True)
class Group:
    """Those that answer for one model, of which one at a time is asked.

    :param on: what has to have happened before: ``failure`` of those before, or ``context``, a
        conversation that was too long for them.
    :param weights: each route's part of the requests.
    :param sticky: a tag whose value decides on the route.
    """

    routes: tuple[Route, ...]
    on: Literal["failure", "context"] = "failure"
    weights: tuple[int, ...] = (1,)
    balance: Balance = "weighted"
    sticky: str | None = None


class Router:
    """Resolves names: alias, then ``provider/model``, then whose price book entry knows the model.

    :param settings: for aliases and the providers' own model lists.
    :param providers: the enabled providers by name.
    :param families: provider name → family under which it is priced.
    :param known: the price book.
    """

    def __init__(
        self,
        settings: Settings,
        providers: Mapping[str, Provider],
        families: Mapping[str, str],
        known: KnownModels,
    ) -> None:
        self._aliases: Mapping[str, ModelSettings] = settings.models
        self._configured: Mapping[str, ProviderSettings] = settings.providers
        self._providers = providers
        self._families = families
        # A provider that says itself as whom it is priced need not call its models as those do.
        self._named_as = {
            name: families.get(name, name)
            for name, provider in providers.items()
            if not hasattr(provider, "price_as")
        }
        self._known = known
        self._routes: dict[str, Route] = {}
        self._groups: dict[str, tuple[Group, ...]] = {}
        self._nearest = lru_cache(maxsize=256)(self._find_nearest)

    def resolve(self, model: str, caller: Caller | None = None) -> Route:
        """Find where a model's name leads.

        :raises UnknownModel: when it leads nowhere, with the nearest names.
        :raises Forbidden: when the caller's key is not for this model.
        """
        route = self._routes.get(model)
        if route is None:
            route = self._resolve(model)
            if len(self._routes) >= _CACHE_SIZE:
                self._routes.clear()
            self._routes[model] = route
        if caller is not None and caller.models and not _allowed(caller.models, model, route):
            raise Forbidden(
                f"This key may not use the model {model!r}; it may use: {', '.join(caller.models)}.",
                param="model",
            )
        return route

    def groups(self, model: str) -> tuple[Group, ...]:
        """Who is asked for a model's name, in order: those behind the name, then its fallbacks.

        Fallbacks of a fallback are not asked: two models may stand in for each other.

        :raises UnknownModel: as `resolve` does.
        """
        found = self._groups.get(model)
        if found is None:
            found = (self._group(model),)
            aliased = self._aliases.get(model)
            for fallback in aliased.fallbacks if aliased is not None else ():
                found += (self._group(fallback.model, fallback.on),)
            if len(self._groups) >= _CACHE_SIZE:
                self._groups.clear()
            self._groups[model] = found
        return found

    def _group(self, model: str, on: Literal["failure", "context"] = "failure") -> Group:
        aliased = self._aliases.get(model)
        if aliased is None or not aliased.deployments:
            return Group((self.resolve(model),), on)
        return Group(
            tuple(self._route(each.provider, each.model, model) for each in aliased.deployments),
            on,
            tuple(each.weight for each in aliased.deployments),
            aliased.balance,
            aliased.sticky,
        )

    def routes(self, model: str) -> tuple[Route, ...]:
        """All that a model's name may lead to, the most usual one first.

        :raises UnknownModel: as `resolve` does.
        """
        return tuple(route for group in self.groups(model) for route in group.routes)

    def refresh(self) -> None:
        """Forget what was resolved: the price book has changed."""
        self._routes.clear()
        self._groups.clear()
        self._nearest.cache_clear()

    def models(self) -> Iterator[tuple[str, str]]:
        """Names a caller can use, each with the provider behind it: aliases, then ``provider/model``."""
        for alias, aliased in self._aliases.items():
            yield alias, aliased.provider
        for name, provider in self._providers.items():
            for model in self._listed(name, provider):
                yield f"{name}/{model}", name

    def _resolve(self, model: str) -> Route:
        if len(model) > _LONGEST_NAME:
            raise InvalidRequest(
                f"`model` is {len(model)} characters long; at most {_LONGEST_NAME} are.", param="model"
            )
        aliased = self._aliases.get(model)
        if aliased is not None:
            return self._route(aliased.provider, aliased.model, model)
        name, slash, rest = model.partition("/")
        if slash and rest and name in self._providers:
            return self._route(name, rest, None)
        for name, provider in self._providers.items():
            if model in self._own_models(name, provider):
                return self._route(name, model, None)
        families = self._known.providers_of(model)
        for family in families:
            for name in self._providers:
                if self._named_as.get(name) == family:
                    return self._route(name, model, None)
        raise self._unknown(model, families)

    def _route(self, name: str, model: str, alias: str | None) -> Route:
        return Route(alias, name, self._providers[name], self._families.get(name, name), model)

    def _own_models(self, name: str, provider: Provider) -> tuple[str, ...]:
        configured = self._configured.get(name)
        own = tuple(configured.models) if configured else ()
        listing = getattr(provider, "models", None)
        return (*own, *listing()) if callable(listing) else own

    def _listed(self, name: str, provider: Provider) -> list[str]:
        own = self._own_models(name, provider)
        named_as = self._named_as.get(name)
        priced = sorted(self._known.models_of(named_as)) if named_as is not None else ()
        return list(dict.fromkeys((*own, *priced)))

    def _unknown(self, model: str, families: Iterable[str]) -> UnknownModel:
        message = f"No provider that is on knows the model {model!r}."
        off = [family for family in families if family in _VARIABLES]
        if off:
            message += f" {off[0]} has it: set {_VARIABLES[off[0]]} to turn that provider on."
        near = self._nearest(model)
        if near:
            message += f" Nearest names: {', '.join(near)}."
        message += " `GET /v1/models` lists what can be used; `provider/model` always names one exactly."
        return UnknownModel(message, param="model")

    def _find_nearest(self, model: str) -> tuple[str, ...]:
        names = [name for name, _ in self.models()]
        bare = {name.partition("/")[2]: name for name in names if "/" in name}
        found = difflib.get_close_matches(model, [*names, *bare], n=3, cutoff=0.6)
        return tuple(dict.fromkeys(bare.get(name, name) for name in found))


def _allowed(models: tuple[str, ...], asked: str, route: Route) -> bool:
    return asked in models or route.model in models or route.address in models
