"""Anthropic's Messages format: what ``POST /v1/messages`` reads and writes."""

from __future__ import annotations

from .anthropic_errors import error_body, error_event, error_type
from .anthropic_request import request_from_messages
from .anthropic_response import message_from_response
from .anthropic_stream import MessageStream

__all__ = [
    "MessageStream",
    "error_body",
    "error_event",
    "error_type",
    "message_from_response",
    "request_from_messages",
]
