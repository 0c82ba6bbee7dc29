"""What handlers raise, and the control flow that they must let pass."""

from __future__ import annotations

from datetime import timedelta

from howdah import errors
from howdah.errors import AttemptAbandoned, Suspended, TerminalError

__all__ = [
    "RetryableError",
    "SdkInternalBaseException",
    "SdkInternalException",
    "SuspendedException",
    "TerminalError",
    "is_internal_exception",
]

SdkInternalBaseException = errors.Interrupt
SuspendedException = Suspended
SdkInternalException = AttemptAbandoned


class RetryableError(errors.RetryableError):
    """Fail this attempt and try again, after `retry_after` if given. HD4002.

    Args:
        message: What went wrong.
        status_code: Kept with the error; a failure that is retried has no status of its own.
        retry_after: The delay, in place of the policy's.
    """

    def __init__(
        self, message: str, status_code: int = 500, retry_after: timedelta | None = None
    ) -> None:
        super().__init__(message, retry_after)
        self.status_code = status_code


def is_internal_exception(e: BaseException) -> bool:
    """Whether `e` only ends an attempt: let it pass, and catch `Exception`, not `BaseException`."""
    return isinstance(e, errors.Interrupt)
