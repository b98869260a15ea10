"""The root of everything that Maester raises on purpose."""

from __future__ import annotations

from typing import Any, ClassVar


class MaesterError(Exception):
    """Root of everything Maester raises on purpose.

    :param message: what was wrong and what to do about it, safe to show to the caller.
    :param param: the request field or configuration key at fault, when there is one.
    :param retry_after_s: seconds after which a retry may succeed, when that is known.
    :ivar exhausted: whether Maester itself has tried again as often as there is sense in it.
    """

    code: ClassVar[str] = "maester_error"
    http_status: int = 500
    retryable: bool = False

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s
        self.exhausted = False

    def as_dict(self) -> dict[str, Any]:
        """The error as plain JSON values, the form in which it is recorded."""
        out: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.param is not None:
            out["param"] = self.param
        return out
