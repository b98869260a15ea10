"""Enrichment: one inference for each row of a table, resumable, within a limit of cost.

`Enricher` runs a `Plan` over an `Input` and keeps what became of each row in a `State`; `write_output`
joins the two in the input's order. ``docs/enrichment.md`` describes the files.
"""

from __future__ import annotations

from .enricher import Enricher as Enricher
from .enricher import Options as Options
from .enricher import Progress as Progress
from .enricher import Stop as Stop
from .estimate import Estimator as Estimator
from .forecast import Forecast as Forecast
from .forecast import forecast_of as forecast_of
from .output import write_output as write_output
from .plan import Plan as Plan
from .plan import open_state as open_state
from .rows import Input as Input
from .rows import Row as Row
from .state import State as State
from .template import PromptTemplate as PromptTemplate
