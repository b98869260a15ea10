"""The plugins of ``docs/plugins.md``, taken from the page, installed and used."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import pytest

from maester import Check, Request, Runtime, hookspecs
from maester.settings import Settings
from maester.testing import check_pricing_source, check_provider

PAGE = (Path(__file__).parent.parent / "docs" / "plugins.md").read_text(encoding="utf-8")


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """A runtime that finds both modules of the page as pip would have installed them."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(site)
    modules = re.findall(r"`(maester_\w+)\.py`:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert [name for name, _ in modules] == ["maester_no_apology", "maester_shout"]
    for name, source in modules:
        (site / f"{name}.py").write_text(source)
        info = site / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[maester]\n{name.removeprefix('maester_')} = {name}\n")
    with Runtime.build(settings=Settings(data_dir=tmp_path / "data")) as built:
        yield built
    for name, _ in modules:
        sys.modules.pop(name, None)


def asking(model: str, text: str, *checks: str, stream: bool = False) -> Request:
    return Request(
        model=model,
        messages=[{"role": "user", "content": text}],
        checks=tuple(Check(name) for name in checks),
        stream=stream,
    )


def test_the_evaluator_judges(runtime: Runtime) -> None:
    refused = runtime.execute(asking("shout/any", "I am so sorry.", "no_apology"))
    assert refused.raise_for_error().passed is False
    assert (refused.evaluations or ())[0].explanation == "says sorry"
    assert runtime.execute(asking("shout/any", "Here it is.", "no_apology")).passed is True


def test_the_provider_answers_with_counted_tokens_and_an_unknown_cost(runtime: Runtime) -> None:
    inference = runtime.execute(asking("shout/any", "hello")).raise_for_error()
    assert inference.response is not None
    assert inference.response.output == "HELLO"
    usage = inference.attempts[0].usage
    assert usage is not None
    assert usage.estimated
    assert usage.output_tokens > 0
    assert inference.cost is not None
    assert (inference.cost.total_usd, inference.cost.priced) == (None, False)


def test_a_stream_of_it_is_the_answer_in_one_piece(runtime: Runtime) -> None:
    stream = runtime.stream(asking("shout/any", "hello", stream=True))
    assert [chunk.body["choices"][0]["delta"]["content"] for chunk in stream] == ["HELLO"]
    assert stream.inference.error is None


def test_the_better_provider_streams_and_is_charged(tmp_path: Path) -> None:
    (source,) = re.findall(r"whose prices apply:\n\n```python\n(.*?)```", PAGE, re.DOTALL)
    better = ModuleType("better_shout")
    exec(source, better.__dict__)
    check_provider(better.Shout(), model="any")
    check_pricing_source(better.ShoutPrices(), model="shout/any")
    with Runtime.build(settings=Settings(data_dir=tmp_path / "data"), plugins=[better]) as runtime:
        stream = runtime.stream(asking("shout/any", "say it", stream=True))
        pieces = [chunk.body["choices"][0]["delta"].get("content", "") for chunk in stream]
        assert pieces[:3] == ["SAY", " ", "IT"]
        assert stream.inference.cost is not None
        assert stream.inference.cost.total_usd == Decimal("0.0000015")


def test_every_hook_is_on_the_page() -> None:
    hooks = [
        name for name, _ in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("maester_")
    ]
    assert len(hooks) == 7
    for name in hooks:
        signature = ", ".join(inspect.signature(getattr(hookspecs, name)).parameters)
        assert f"| `{name}({signature})` |" in PAGE
