"""Whatever is written, it is a configuration or an error that says what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maester import config
from maester.config.layers import Layers, Origin
from maester.config.schema import CONFIGURATION
from maester.config.toml import dumps
from maester.config.tree import settings as all_settings
from maester.errors import ConfigError

PATHS = [path for path, _ in all_settings(CONFIGURATION)]
TEXTS = st.one_of(
    st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=12),
    st.sampled_from(["${A}", "${A:-b}", "${", "$${", "http://u:p@h", "postgres://h/d", "{}", "[1]", "1e9"]),
)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(),
    TEXTS,
    st.floats(),
    st.datetimes(),
    st.dates(),
    st.times(),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["name", "required", "input", "x y", "a.b", "type"]), inner, max_size=3
        ),
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(["openai", "echo", "a.b", "a b", "0"])


@st.composite
def files(draw: st.DrawFn) -> str:
    """A file with anything under some of the keys that there are."""
    layers = Layers()
    for path in draw(st.lists(st.sampled_from(PATHS), max_size=6)):
        whole = tuple(draw(NAMES) if part == "*" else part for part in path)
        layers.put(whole, draw(VALUES), lambda _: Origin())
    return dumps(layers.values)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("any") / "maester.toml"


def check(path: Path, environ: dict[str, str]) -> None:
    try:
        loaded = config.load(path, environ)
    except ConfigError as exc:
        problems = exc.problems
    else:
        resolved = config.resolve(path, environ, {})
        assert config.as_toml(resolved, {}, origins=True)
        assert loaded.providers == config.settings_of(resolved).providers
        return
    assert problems
    assert all(problem["message"] and problem["origin"] for problem in problems)


@settings(deadline=None)
@given(files())
def test_any_file(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    check(path, {"A": "1"})


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(PATHS), TEXTS, max_size=4))
@example({("providers", "*", "options", "usage"): "NaN"})
@example({("server", "graceful_timeout_s"): "sNaN"})
@example({("server", "port"): "9" * 5000})
def test_any_environment(path: Path, values: dict[tuple[Any, ...], str]) -> None:
    path.write_text("", encoding="utf-8")
    environ = {
        "MAESTER_" + "__".join("X" if part == "*" else str(part).upper() for part in parts): text
        for parts, text in values.items()
    }
    check(path, environ)


@settings(deadline=None)
@given(st.text(max_size=40))
def test_any_variable(path: Path, name: str) -> None:
    path.write_text("", encoding="utf-8")
    check(path, {f"MAESTER_{name}": "x", f"MAESTER_SERVER__{name}": "x", f"MAESTER_MODELS__{name}": "x"})
