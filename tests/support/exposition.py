"""Reading what Prometheus reads."""

from __future__ import annotations

import re

from prometheus_client.parser import text_string_to_metric_families

_ABBREVIATED = {"s", "ms", "us", "ns", "sec", "b", "kb", "mb", "gb", "tb", "m", "h", "d", "min"}
_NOT_BASE = {
    *("milliseconds", "microseconds", "nanoseconds", "minutes", "hours", "days", "weeks"),
    *("kilobytes", "megabytes", "gigabytes", "bits", "percent", "percents", "milligrams"),
}
_KINDS = {"counter", "gauge", "histogram", "summary", "untyped"}


def read(text: str) -> dict[str, float]:
    """Every sample, added up over its labels."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def lint(text: str) -> list[str]:
    """What ``promtool check metrics`` of Prometheus 2.42 would find fault with, by its rules."""
    wrong = []
    declared = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    names = [name for name, _ in declared]
    wrong += [f"{name}: declared twice" for name in set(names) if names.count(name) > 1]
    helps = dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))
    for name, kind in declared:
        words = name.split("_")
        if not helps.get(name):
            wrong.append(f"{name}: no help text")
        if (kind == "counter") != name.endswith("_total"):
            wrong.append(f"{name}: only counters end in _total, and all of them do")
        if kind != "histogram" and name.endswith(("_bucket", "_count", "_sum")):
            wrong.append(f"{name}: the ending of a histogram's samples")
        if set(words) & _KINDS:
            wrong.append(f"{name}: has its type in its name")
        if set(words) & _NOT_BASE or set(words[1:]) & _ABBREVIATED:
            wrong.append(f"{name}: a unit that is not a base unit, or abbreviated")
        if ":" in name or re.search(r"[a-z][A-Z]", name):
            wrong.append(f"{name}: a colon, or camelCase")
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if {"le", "quantile"} & set(sample.labels) and family.type not in ("histogram", "summary"):
                wrong.append(f"{sample.name}: a label that is a histogram's")
            if any(re.search(r"[a-z][A-Z]|:", label) for label in sample.labels):
                wrong.append(f"{sample.name}: a label in camelCase")
    return wrong
