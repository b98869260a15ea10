"""JSON Schema for Maester: the evaluators ``json_schema`` and ``tool_call_schema``.

A plugin of Maester. It judges an answer, or the arguments of its tool calls, by a JSON Schema: one that
the check names or carries, or the one that the request asked the provider to keep to.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import maester

from .json_schema import JsonSchema
from .settings import JsonSchemaSection
from .tool_calls import ToolCallSchema


@maester.hookimpl
def maester_add_settings(register: Callable[[str, type], None]) -> None:
    """Declare the section ``[jsonschema]``."""
    register("jsonschema", JsonSchemaSection)


@maester.hookimpl
def maester_register_evaluators(
    register: Callable[[maester.Evaluator], None], settings: Mapping[str, Any]
) -> None:
    """Register both evaluators; the first knows the schemas that the section names."""
    register(JsonSchema(settings.get("schemas", {})))
    register(ToolCallSchema())


__all__ = ["JsonSchema", "ToolCallSchema"]
