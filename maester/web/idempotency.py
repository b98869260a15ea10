"""``Idempotency-Key`` on requests for inferences: what is sent twice runs once.

Source: draft-ietf-httpapi-idempotency-key-header-07. The first answer is kept as it went out, and given
again to the same key with the same request.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from maester.errors import Conflict, IdempotencyMismatch, LedgerError
from maester.ledger.answers import SavedAnswer, SavedAnswers
from maester.model import Caller, Inference
from maester.settings import IdempotencySettings

from .answer import Answer
from .events import EventStream, StreamAnswer

_HOLD_S = 900.0
"""Seconds for which a request holds its key that never came to its end, because its process died: longer
than providers are given."""

_RETRY_S = 1.0
"""Seconds after which to ask again for an answer that is under way."""

_OWN_HEADERS = ("content-type", "content-length", "x-content-type-options")
"""Headers that `Answer` writes itself."""

_log = logging.getLogger(__name__)


class Idempotency:
    """Which requests were answered before.

    :param answers: where their answers are.
    :ivar replayed: how often this process gave an answer again.
    """

    def __init__(self, settings: IdempotencySettings, answers: SavedAnswers) -> None:
        self.enabled = settings.enabled
        self._settings = settings
        self._answers = answers
        self.replayed = 0

    def begin(self, key: str, caller: Caller | None, address: str, body: Any) -> Answer | Reservation:
        """The first answer to this request, or the right to make it.

        :param key: as the caller chose it; another caller's is another.
        :raises IdempotencyMismatch: when the key was used for another request.
        :raises Conflict: while the first one is under way.
        :raises LedgerError: when the database cannot say.
        """
        owner = caller.key_id if caller is not None else ""
        kept_under = _hash(["idempotency", owner, key])
        fingerprint = _hash([address, body])
        token = secrets.token_hex(16)
        found = self._answers.reserve(kept_under, fingerprint, token, _HOLD_S)
        if found is None:
            return Reservation(self._answers, self._settings, kept_under, token)
        if found.fingerprint is not None and found.fingerprint != fingerprint:
            raise IdempotencyMismatch(
                "This Idempotency-Key was used before with another request. Use a new key for a new request.",
                param="idempotency-key",
            )
        if found.answer is None:
            conflict = Conflict(
                "The first request with this Idempotency-Key is still under way; ask again for its answer.",
                param="idempotency-key",
                retry_after_s=_RETRY_S,
            )
            conflict.retryable = True
            raise conflict
        self.replayed += 1
        kept = orjson.loads(found.answer)
        headers = [*((name, value) for name, value in kept["headers"]), ("idempotent-replayed", "true")]
        return Answer(kept["body"].encode(), kept["status"], headers, kept["media"])


@dataclass(slots=True)
class Reservation:
    """A key that is held while its request is under way; `settle` or `release` ends it."""

    _answers: SavedAnswers
    _settings: IdempotencySettings
    _key: str
    _token: str

    def settle(self, response: Answer | StreamAnswer, body: bytes, inference: Inference) -> None:
        """Keep an answer, or give the key free: after a failure that another try may mend, and of what is
        too large to be kept."""
        error = inference.error
        passing = error is not None and (error.retryable or error.code == "cancelled")
        if passing or len(body) > self._settings.max_answer_bytes:
            self.release()
            return
        headers = [pair for pair in response.headers if pair[0].lower() not in _OWN_HEADERS]
        kept = {
            "status": response.status_code,
            "media": response.media,
            "headers": headers,
            "body": body.decode(),
        }
        saved = SavedAnswer(inference.request_id, None, orjson.dumps(kept))
        try:
            self._answers.complete(self._key, self._token, saved, self._settings.keep_s)
        except LedgerError as exc:
            # The key stays held for a while: running the request again would be worse.
            _log.warning("An answer was not kept for its Idempotency-Key: %s", exc)

    @property
    def most(self) -> int:
        """Bytes that an answer may have."""
        return self._settings.max_answer_bytes

    def release(self) -> None:
        """Let the next request with this key run."""
        try:
            self._answers.release(self._key, self._token)
        except LedgerError as exc:
            _log.warning("An Idempotency-Key was not given free: %s", exc)


class KeptStream(Iterator[bytes]):
    """A stream that is kept when it has ended well, or failed for good.

    :param response: the answer whose body it is.
    """

    def __init__(self, events: EventStream, response: StreamAnswer, held: Reservation) -> None:
        self._events = events
        self._response = response
        self._held: Reservation | None = held
        self._parts: list[bytes] = []
        self._room = held.most

    def __iter__(self) -> KeptStream:
        return self

    def __next__(self) -> bytes:
        written = next(self._events)
        if self._room >= 0:  # one piece too many, by which it shows
            self._room -= len(written)
            self._parts.append(written)
        if self._events.ended and self._held is not None:
            # Before the last piece goes out: who has all of it may ask again at once.
            held, self._held = self._held, None
            held.settle(self._response, b"".join(self._parts), self._events.inference)
        return written

    def close(self) -> None:
        """Close the stream; if it was not at its end, the key is free again."""
        self._events.close()
        if self._held is not None:
            self._held.release()
            self._held = None


def _hash(told: Any) -> str:
    return hashlib.sha256(orjson.dumps(told, option=orjson.OPT_SORT_KEYS)).hexdigest()
