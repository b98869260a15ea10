"""What reading a streamed answer takes, whichever format its pieces are in."""

from __future__ import annotations

from .client import Client
from .transport import Incoming

DRAIN_S = 0.1
"""Seconds that the end of the connection's answer may take after the end of the message in it."""


def refuse_whole(client: Client, incoming: Incoming) -> None:
    """Raise if server-sent events were asked for and one piece of JSON comes.

    :raises ProviderError: what it stands for, if it is an error; else `BadProviderResponse`.
    """
    if "json" not in incoming.headers.get("content-type", ""):
        return
    received = incoming.read()
    body = client.parse(received, incoming)
    if body.get("error") is not None:
        client.failed(body, incoming)
    client.bad("a request for a stream with one piece of JSON", received)
