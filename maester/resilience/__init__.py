"""What becomes of a request when a provider fails: tried again, or asked elsewhere, within limits.

A `Dispatcher` brings each request to an answer. It goes by `policy`, which says which errors are worth
another call, and by `RetryBudget`, which says how many of those there may be. Where a model has `Hedging`,
a second call may `race` a first one that is silent.
"""

from .budget import RetryBudget as RetryBudget
from .dispatcher import Dispatcher as Dispatcher
