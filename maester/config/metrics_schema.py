"""The section about what Prometheus reads."""

from __future__ import annotations

from ..settings import MetricsSettings
from .fields import Flag, Names, Section, Text, Whole, defaults_of

_METRICS = defaults_of(MetricsSettings)


class MetricsSection(Section):
    """``[metrics]``"""

    open = Flag("Whether `GET /metrics` needs no key.", load_default=_METRICS["open"])
    tags = Names(
        "Tags by whose values requests and cost are counted, too: such as have few, like a team.",
        load_default=list,
    )
    worker_port = Whole(
        "Port at which `maester worker` answers `GET /metrics`, without a key; not at all unless set.",
        1,
        65_535,
        load_default=_METRICS["worker_port"],
    )
    worker_host = Text("Address that it listens on.", load_default=_METRICS["worker_host"])
