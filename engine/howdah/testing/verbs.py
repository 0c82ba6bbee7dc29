"""The verbs' awaitables: coroutines that are missed when nobody awaits them."""

from __future__ import annotations

import sys
from collections.abc import Coroutine, Generator
from types import TracebackType
from typing import Any, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Verbs:
    """The verbs that nobody has awaited yet, with where they were called, in order."""

    def __init__(self) -> None:
        self._missing: dict[int, str] = {}
        self._count = 0

    def add(self, what: str, coroutine: Coroutine[Any, Any, T_co], depth: int) -> Verb[T_co]:
        """Return the awaitable of a verb that is called `depth` frames above this one."""
        frame = sys._getframe(depth + 1)
        self._count += 1
        self._missing[self._count] = f"{what} at {frame.f_code.co_filename}:{frame.f_lineno}"
        return Verb(what, coroutine, self._missing, self._count)

    def missing(self) -> list[str]:
        """What nobody has awaited."""
        return list(self._missing.values())


class Verb(Coroutine[Any, Any, T_co]):
    """What a verb returns: await it, or give it to `asyncio.create_task` or `asyncio.gather`."""

    __slots__ = ("_coroutine", "_missing", "_number", "_what")

    def __init__(
        self,
        what: str,
        coroutine: Coroutine[Any, Any, T_co],
        missing: dict[int, str],
        number: int,
    ) -> None:
        self._what = what
        self._coroutine = coroutine
        self._missing = missing
        self._number = number

    def __repr__(self) -> str:
        if self._number in self._missing:
            return f"<{self._what}, not awaited: write `await` before it>"
        return f"<{self._what}>"

    def __await__(self) -> Generator[Any, Any, T_co]:
        self._missing.pop(self._number, None)
        return self._coroutine.__await__()

    def send(self, value: Any) -> Any:
        """Go on: as a coroutine."""
        self._missing.pop(self._number, None)
        return self._coroutine.send(value)

    def throw(
        self,
        typ: Any,
        val: BaseException | object = None,
        tb: TracebackType | None = None,
    ) -> Any:
        """Go on with an error: as a coroutine."""
        self._missing.pop(self._number, None)
        if val is None and tb is None:
            return self._coroutine.throw(typ)
        return self._coroutine.throw(typ, val, tb)

    def close(self) -> None:
        """End: as a coroutine."""
        self._missing.pop(self._number, None)
        self._coroutine.close()

    def __del__(self) -> None:
        if self._number in self._missing:
            # It is told at the end of the environment; Python's own warning would say less.
            self._coroutine.close()
