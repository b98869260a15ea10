"""The files in ``deploy/`` name what there is."""

from __future__ import annotations

import re
from pathlib import Path

from maester.metrics.families import Families

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_alerts_are_on_metrics_that_exist() -> None:
    rules = (DEPLOY / "prometheus-rules.yaml").read_text(encoding="utf-8")
    known = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in Families().registry.collect()
    }
    used = set(re.findall(r"\bmaester_\w+", rules))
    assert len(used) >= 8
    assert used <= known
