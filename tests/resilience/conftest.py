"""An installation with providers that misbehave as they are told, each on a socket of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from maester.runtime import Runtime
from support.failing import Build
from support.upstream import Upstream

CONFIG = """
data_dir = "{data}"

[resilience]
{resilience}

[providers.one]
type = "openai"
base_url = "{one}"
first_byte_timeout_s = 0.5
idle_timeout_s = 1
price_as = "one"
{provider}

[providers.two]
type = "openai"
base_url = "{two}"
price_as = "two"

[[prices]]
provider = "one"
model = "m"
input = 1.0
output = 1.0

[[prices]]
provider = "two"
model = "m"
input = 100.0
output = 100.0
"""


@pytest.fixture
def one(upstream: Upstream) -> Upstream:
    """What is behind provider ``one``."""
    return upstream


@pytest.fixture
def two() -> Iterator[Upstream]:
    """What is behind provider ``two``."""
    with Upstream() as running:
        yield running


@pytest.fixture
def build(tmp_path: Path, one: Upstream, two: Upstream) -> Iterator[Build]:
    """Builds a runtime.

    ``models``: tables ``[models.X]``. ``resilience``: lines of ``[resilience]``. ``provider``: lines
    of ``[providers.one]``. ``one_url``: another address of provider ``one``.
    """
    with ExitStack() as stack:

        def made(models: str = "", resilience: str = "", provider: str = "", one_url: str = "") -> Runtime:
            text = CONFIG.format(
                data=tmp_path / "data",
                resilience=resilience
                if "first_delay_s" in resilience
                else f"first_delay_s = 0.01\n{resilience}",
                provider=provider,
                one=one_url or one.base_url,
                two=two.base_url,
            )
            path = tmp_path / "maester.toml"
            path.write_text(text + models)
            return stack.enter_context(Runtime.build(path, environ={}))

        yield made
