"""When a model is asked a second time, beside a first call that does not begin to answer."""

from __future__ import annotations

from maester.model import Request
from maester.settings import Hedge

from .budget import RetryBudget
from .delays import Delays
from .deployment import Deployment


class Hedging:
    """What a model's ``hedge`` comes to, in one process. Safe to share in it."""

    def __init__(self, settings: Hedge) -> None:
        self._settings = settings
        self._delays: dict[tuple[str, str], Delays] = {}
        self.budget = RetryBudget(settings.share, floor=1)

    def delays(self, deployment: Deployment, request: Request) -> Delays:
        """What is known of answers like the one to a request: streams begin sooner than others are done."""
        kind = "stream" if request.stream and request.operation == "chat" else request.operation
        key = (deployment.address, kind)
        found = self._delays.get(key)
        return found if found is not None else self._delays.setdefault(key, Delays())

    def after_s(self, delays: Delays) -> float | None:
        """Seconds of silence after which there is a second call; ``None`` while that cannot be said."""
        settings = self._settings
        return settings.after_s if settings.quantile is None else delays.quantile(settings.quantile)
