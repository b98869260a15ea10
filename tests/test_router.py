"""Where a model's name leads."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from maester import Call, Caller, Response
from maester.errors import Forbidden, InvalidRequest, UnknownModel
from maester.router import Router
from maester.settings import ModelSettings, ProviderSettings, Settings


class Named:
    def __init__(self, name: str) -> None:
        self.name = name

    def generate(self, call: Call) -> Response:
        return Response.of("")


class Book:
    """A price book of three models."""

    known = {"gpt-4o-mini": ("openai", "azure"), "claude-haiku": ("anthropic",), "gemini-flash": ("google",)}

    def providers_of(self, model: str) -> Iterable[str]:
        return self.known.get(model, ())

    def models_of(self, family: str) -> Iterable[str]:
        return [model for model, families in self.known.items() if family in families]


def router(*names: str, **settings: object) -> Router:
    providers = {name: Named(name) for name in names}
    families = {"work": "openai"}
    return Router(
        Settings(**settings),  # type: ignore[arg-type]
        providers,
        {name: families.get(name, name) for name in names},
        Book(),
    )


ALIAS = {"fast": ModelSettings("fast", "openai", "gpt-4o-mini")}


def test_an_alias_comes_first() -> None:
    shadowing = {"openai/gpt-4o-mini": ModelSettings("openai/gpt-4o-mini", "work", "other")}
    route = router("openai", "work", models=shadowing).resolve("openai/gpt-4o-mini")
    assert (route.alias, route.address) == ("openai/gpt-4o-mini", "work/other")


def test_then_provider_and_model_whatever_the_model_is_called() -> None:
    route = router("openai", models=ALIAS).resolve("openai/org/some-model")
    assert (route.name, route.model, route.alias) == ("openai", "org/some-model", None)


def test_a_provider_that_borrows_prices_borrows_no_names() -> None:
    borrower = Named("hosted")
    borrower.price_as = "openai"  # type: ignore[attr-defined]
    built = Router(Settings(), {"hosted": borrower}, {"hosted": "openai"}, Book())
    assert built.resolve("hosted/gpt-4o-mini").family == "openai"
    assert list(built.models()) == []
    with pytest.raises(UnknownModel):
        built.resolve("gpt-4o-mini")


def test_then_the_provider_whose_price_book_entry_knows_the_model() -> None:
    assert router("anthropic", "work").resolve("gpt-4o-mini").name == "work"


def test_a_provider_lists_models_of_its_own() -> None:
    configured = {"local": ProviderSettings("local", "openai", models=("tiny",))}
    assert router("openai", "local", providers=configured).resolve("tiny").name == "local"


def test_an_unknown_model_is_told_with_the_nearest_names() -> None:
    with pytest.raises(UnknownModel, match="Nearest names: openai/gpt-4o-mini") as caught:
        router("openai").resolve("gpt-4o-mimi")
    assert (caught.value.code, caught.value.http_status, caught.value.param) == (
        "model_not_found",
        404,
        "model",
    )


def test_a_model_of_a_provider_that_is_off_says_how_to_turn_it_on() -> None:
    with pytest.raises(UnknownModel, match="set ANTHROPIC_API_KEY"):
        router("openai").resolve("claude-haiku")


def test_a_name_of_absurd_length_is_refused_before_it_is_searched_for() -> None:
    with pytest.raises(InvalidRequest, match="at most 256"):
        router("openai").resolve("x" * 100_000)


@pytest.mark.parametrize("allowed", ["fast", "gpt-4o-mini", "openai/gpt-4o-mini"])
def test_a_key_for_some_models_is_good_for_these(allowed: str) -> None:
    caller = Caller("k1", "search", (allowed,))
    assert router("openai", models=ALIAS).resolve("fast", caller).model == "gpt-4o-mini"


def test_and_for_no_others_also_when_the_route_is_known_already() -> None:
    routes = router("openai", models=ALIAS)
    routes.resolve("fast")
    with pytest.raises(Forbidden, match="may use: other"):
        routes.resolve("fast", Caller("k1", "search", ("other",)))


def test_models_are_listed_aliases_first() -> None:
    assert list(router("openai", models=ALIAS).models()) == [
        ("fast", "openai"),
        ("openai/gpt-4o-mini", "openai"),
    ]
