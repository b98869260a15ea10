"""The part of the schema that is about models: names that callers use, and what stands behind them."""

from __future__ import annotations

from .fields import Checks, Choice, Section, Text
from .tables import Fallbacks

MODEL_NAME = r"\S{1,200}"


class ModelSection(Section):
    """``[models.ALIAS]``"""

    provider = Text("Name of the provider that answers.", required=True)
    model = Text("The model's name at the provider.", required=True)
    evaluate = Checks("Checks of this model's answers; those of `[evaluate]` unless set.", load_default=None)
    on_failure = Choice(
        "What a failed check does; what `[evaluate]` says unless set.", "observe", "block", load_default=None
    )
    fallbacks = Fallbacks("Models that are asked next when this one fails, in order.", load_default=list)
