"""The part of the schema that says what is done when a provider fails."""

from __future__ import annotations

from ..settings import ResilienceSettings
from .fields import Flag, Seconds, Section, Share, Whole, defaults_of

_RESILIENCE = defaults_of(ResilienceSettings)


class ResilienceSection(Section):
    """``[resilience]``"""

    retries = Whole(
        "How often a model is asked again after a failure that may pass.",
        0,
        20,
        load_default=_RESILIENCE["retries"],
    )
    retry_budget = Share(
        "Retries for each request of the last ten seconds, at most; ten are always allowed.",
        load_default=_RESILIENCE["retry_budget"],
    )
    first_delay_s = Seconds(
        "Longest pause before the first retry; it doubles with each.",
        zero=True,
        high=3600,
        load_default=_RESILIENCE["first_delay_s"],
    )
    max_delay_s = Seconds(
        "Longest pause before a retry. A provider that asks for more is not waited for.",
        zero=True,
        high=3600,
        load_default=_RESILIENCE["max_delay_s"],
    )
    timeout_s = Seconds(
        "Seconds for a whole request with all its attempts; unless set, each attempt has those of its"
        " provider, and none begins after 600.",
        load_default=_RESILIENCE["timeout_s"],
    )
    breaker = Flag(
        "Whether a model at a provider is not asked for a while when it keeps failing.",
        load_default=_RESILIENCE["breaker"],
    )
    breaker_failure_rate = Share(
        "Share of failures at which it is not asked any more.",
        load_default=_RESILIENCE["breaker_failure_rate"],
    )
    breaker_minimum = Whole(
        "Requests in the window without which the share says nothing.",
        1,
        1_000_000,
        load_default=_RESILIENCE["breaker_minimum"],
    )
    breaker_window_s = Seconds(
        "Seconds over which failures are counted.",
        high=3600,
        load_default=_RESILIENCE["breaker_window_s"],
    )
    breaker_open_s = Seconds(
        "Seconds after which one request goes through as a probe; they double with each that fails, up to"
        " 60.",
        high=3600,
        load_default=_RESILIENCE["breaker_open_s"],
    )
