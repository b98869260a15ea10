"""Fixtures that the whole test suite shares."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.upstream import Upstream


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    """An HTTP upstream that misbehaves as it is told."""
    with Upstream() as running:
        yield running
