"""The part of the schema that says how the HTTP service listens and what it accepts."""

from __future__ import annotations

from ..settings import ServerSettings
from .fields import Choice, Seconds, Section, Text, Whole, defaults_of

_SERVER = defaults_of(ServerSettings)


class ServerSection(Section):
    """``[server]``"""

    host = Text("Address to listen on.", load_default=_SERVER["host"])
    port = Whole("Port to listen on; 0 for any free one.", 0, 65_535, load_default=_SERVER["port"])
    workers = Whole("Worker processes.", 1, 1024, load_default=_SERVER["workers"])
    worker_class = Choice(
        "Kind of gunicorn worker.", "gevent", "gthread", "sync", load_default=_SERVER["worker_class"]
    )
    threads = Whole("Threads of a gthread worker.", 1, 4096, load_default=_SERVER["threads"])
    connections = Whole("Connections of a gevent worker.", 1, 1_000_000, load_default=_SERVER["connections"])
    graceful_timeout_s = Seconds(
        "Seconds that requests in flight are given when the service stops.",
        zero=True,
        load_default=_SERVER["graceful_timeout_s"],
    )
    keep_alive_s = Seconds(
        "Seconds for which a connection is kept for a next request.",
        high=86_400,
        load_default=_SERVER["keep_alive_s"],
    )
    head_timeout_s = Seconds(
        "Seconds from connecting until the first request's head must have come, with a gevent worker.",
        high=86_400,
        load_default=_SERVER["head_timeout_s"],
    )
    body_timeout_s = Seconds(
        "Seconds in which a request's body must have come.",
        high=86_400,
        load_default=_SERVER["body_timeout_s"],
    )
    body_bytes_per_s = Whole(
        "Bytes of a body that give it another second.",
        1,
        2**40,
        load_default=_SERVER["body_bytes_per_s"],
    )
    send_timeout_s = Seconds(
        "Seconds for which a client may read nothing of what is sent to it.",
        high=86_400,
        load_default=_SERVER["send_timeout_s"],
    )
    max_body_bytes = Whole(
        "Largest request body, in bytes.", 1, 2**40, load_default=_SERVER["max_body_bytes"]
    )
    max_json_depth = Whole("Deepest nesting of a JSON body.", 1, 1000, load_default=_SERVER["max_json_depth"])
    on_disconnect = Choice(
        "What becomes of a stream whose client hung up: `cancel` ends it at the provider, `drain` reads the"
        " rest, so that what it really used is known.",
        "cancel",
        "drain",
        load_default=_SERVER["on_disconnect"],
    )
