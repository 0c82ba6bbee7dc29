"""How a test fails: what happened, in words that name invocations, steps and what they wait for."""

from __future__ import annotations


class Unfinished(AssertionError):
    """Something that was to end did not: in time, or ever, as it stands.

    `__cause__` is the error with which an attempt failed last, if one did.
    """


class CrashFailure(AssertionError):
    """A crash changed what came of an invocation.

    Attributes:
        boundary: At which look at the database it was; `only=` of `crash_everywhere` repeats it.
    """

    def __init__(self, message: str, boundary: int) -> None:
        super().__init__(message)
        self.boundary = boundary


class ForgottenAwait(AssertionError):
    """A verb of an `Environment` was called and never awaited, so that it did nothing."""

    def __init__(self, calls: list[str]) -> None:
        listed = "\n".join(f"  {call}" for call in calls)
        super().__init__(f"Write `await` before what was called and did nothing:\n{listed}")
