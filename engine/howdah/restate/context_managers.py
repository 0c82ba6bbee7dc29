"""Context managers around attempts whose value handlers can reach."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from contextvars import ContextVar
from typing import Any, Generic, ParamSpec, TypeVar

__all__ = ["contextvar"]

P = ParamSpec("P")
T = TypeVar("T")

_NOTHING: Any = object()


class contextvar(Generic[P, T]):
    """Keep what an async context manager yields, for those who run within it.

    ```
    @contextvar
    @asynccontextmanager
    async def connection(): ...

    @service.handler(invocation_context_managers=[connection])
    async def handler(ctx): await ctx.run("ask", lambda: connection.value.ask())
    ```

    Args:
        func: A function that returns an async context manager.
    """

    def __init__(self, func: Callable[P, AbstractAsyncContextManager[T]]) -> None:
        self.func = func
        self._current: ContextVar[T] = ContextVar("contextvar", default=_NOTHING)

    @property
    def value(self) -> T:
        """What the context manager around this code yielded.

        Raises:
            LookupError: this code does not run within it.
        """
        value = self._current.get()
        if value is _NOTHING:
            raise LookupError(f"{self.func!r} has not been entered here: there is no value.")
        return value

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> AbstractAsyncContextManager[None]:
        """Return a context manager that yields nothing, and keeps the value meanwhile."""

        @asynccontextmanager
        async def entered() -> AsyncIterator[None]:
            async with self.func(*args, **kwargs) as value:
                token = self._current.set(value)
                try:
                    yield
                finally:
                    self._current.reset(token)

        return entered()
