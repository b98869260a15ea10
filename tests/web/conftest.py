"""A service in this process, for what does not need a server around it, and one that is real."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flask import Flask
from flask.testing import FlaskClient

from maester.runtime import Runtime
from maester.web import create_app
from support.server import Server
from support.upstream import Upstream
from support.worker import Worker

CONFIG = """
data_dir = "{data}"

[resilience]
first_delay_s = 0.01

[providers.echo]
type = "echo"

[providers.slow]
type = "echo"

[providers.slow.options]
chunk_delay_s = 0.02

[providers.up]
type = "openai"
base_url = "{upstream}"
api_key = "sk-upstream"
first_byte_timeout_s = 5
idle_timeout_s = 5

[models.careful]
provider = "echo"
model = "echo"
evaluate = ["non_empty"]

[models.strict]
provider = "echo"
model = "echo"
evaluate = [{{ name = "required_terms", terms = ["refund"] }}]
on_failure = "block"

[[prices]]
provider = "echo"
model = "priced"
input = 1.0
output = 2.0
"""


@pytest.fixture(scope="session")
def misbehaving() -> Iterator[Upstream]:
    """An upstream for the whole session: tell it what to do by the model's name."""
    with Upstream() as running:
        yield running


@pytest.fixture(scope="session")
def runtime(tmp_path_factory: pytest.TempPathFactory, misbehaving: Upstream) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("web")
    path = folder / "maester.toml"
    path.write_text(CONFIG.format(data=folder / "data", upstream=misbehaving.base_url))
    with Runtime.build(path, environ={}) as built:
        yield built


@pytest.fixture(scope="session")
def app(runtime: Runtime) -> Flask:
    return create_app(runtime)


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, misbehaving: Upstream) -> Iterator[Server]:
    """The real service: gunicorn with a gevent worker."""
    folder = tmp_path_factory.mktemp("server")
    config = CONFIG.format(data=folder / "data", upstream=misbehaving.base_url)
    with Server(folder, config=config) as running:
        yield running


BACKGROUND = """
data_dir = "{folder}/data"

[providers.echo]
price_as = "openai"

[providers.slow]
type = "echo"

[providers.slow.options]
delay_s = 1.0

[jobs]
redis_url = "{redis}"
chunk_size = 20
max_body_bytes = 3_000_000
"""


@pytest.fixture(scope="session")
def background(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Iterator[Server]:
    """The real service with a real worker beside it."""
    folder = tmp_path_factory.mktemp("background")
    config = BACKGROUND.format(folder=folder, redis=redis_url)
    with Server(folder, config=config) as server, Worker(folder, "--processes", "1"):
        yield server
