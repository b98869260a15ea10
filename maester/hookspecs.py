"""The pluggy hooks, called once at start.

Every implementation is handed a ``register`` callable and, but for the first and last, the settings
section that it declared (an empty mapping when it declared none).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pluggy

PROJECT = "maester"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

Register = Callable[..., None]


@hookspec
def maester_add_settings(register: Register) -> None:
    """Declare a section of the configuration: ``register(section, schema)``.

    :param register: takes the section's name and a marshmallow Schema class for it.
    """


@hookspec
def maester_register_providers(register: Register, settings: Mapping[str, Any]) -> None:
    """Add providers: ``register(provider)``, see `maester.contracts.Provider`."""


@hookspec
def maester_register_pricing(register: Register, settings: Mapping[str, Any]) -> None:
    """Add price sources: ``register(source, order=100)``; where two know a price, the lower order wins."""


@hookspec
def maester_register_evaluators(register: Register, settings: Mapping[str, Any]) -> None:
    """Add evaluators: ``register(evaluator)``, see `maester.contracts.Evaluator`."""


@hookspec
def maester_register_stages(register: Register, settings: Mapping[str, Any]) -> None:
    """Add stages: ``register(stage, slot=Slot.…, order=100)``; sorted by slot, order, name."""


@hookspec
def maester_register_sinks(register: Register, settings: Mapping[str, Any]) -> None:
    """Add sinks: ``register(sink)``, see `maester.contracts.Sink`."""


@hookspec
def maester_register_commands(register: Register) -> None:
    """Add commands to the command line: ``register(click_command)``."""
