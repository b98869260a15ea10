"""The part of the schema that is about models: names that callers use, and what stands behind them."""

from __future__ import annotations

from typing import Any

from marshmallow import ValidationError, validates_schema

from ..settings import DeploymentSettings, ModelSettings
from .fields import Checks, Choice, Flag, Period, Section, Text, Whole, defaults_of
from .tables import Fallbacks, Hedging, TableList

_DEPLOYMENT = defaults_of(DeploymentSettings)
_MODEL = defaults_of(ModelSettings)

MODEL_NAME = r"\S{1,200}"


class DeploymentSection(Section):
    """``[[models.ALIAS.deployments]]``"""

    provider = Text("Name of the provider.", required=True)
    model = Text("The model's name at the provider.", required=True)
    weight = Whole(
        "Its part of the requests; 0 for one that is asked only when others fail.",
        0,
        1_000_000,
        load_default=_DEPLOYMENT["weight"],
    )


class ModelSection(Section):
    """``[models.ALIAS]``"""

    provider = Text(
        "Name of the provider that answers; needed unless there are deployments.", load_default=None
    )
    model = Text("The model's name at the provider; needed unless there are deployments.", load_default=None)
    evaluate = Checks("Checks of this model's answers; those of `[evaluate]` unless set.", load_default=None)
    on_failure = Choice(
        "What a failed check does; what `[evaluate]` says unless set.", "observe", "block", load_default=None
    )
    cache = Period("For how long the same request gets the same answer again.", load_default=None)
    cache_shared = Flag(
        "Whether callers with different keys get each other's cached answers.", load_default=False
    )
    fallbacks = Fallbacks("Models that are asked next when this one fails, in order.", load_default=list)
    deployments = TableList(DeploymentSection, "Places where the model is, among which requests are divided.")
    balance = Choice(
        "How requests are divided among deployments.",
        "weighted",
        "least_busy",
        "latency",
        load_default=_MODEL["balance"],
    )
    sticky = Text(
        "A tag; requests with the same value of it go to the same deployment.",
        load_default=_MODEL["sticky"],
    )
    hedge = Hedging(
        "When a second call is made beside one that has not begun to answer; never unless set.",
        load_default=None,
    )

    @validates_schema
    def _check_place(self, data: dict[str, Any], **_: Any) -> None:
        """Where the model is has to be said, in one of the two ways."""
        own = [name for name in ("provider", "model") if data.get(name) is not None]
        deployments = data.get("deployments") or []
        if deployments and own:
            raise ValidationError({own[0]: ["is said by the deployments; leave it out"]})
        if not deployments and len(own) < 2:
            missing = [name for name in ("provider", "model") if name not in own]
            raise ValidationError({name: ["is missing; it must be a non-empty string"] for name in missing})
        places = [(each["provider"], each["model"]) for each in deployments]
        if len(set(places)) != len(places):
            raise ValidationError({"deployments": ["must not name one place twice; give it a weight"]})
