"""Waiting for several durable futures: howdah's own, which also take none at all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from howdah import futures as howdah_futures
from howdah.futures import DurableFuture

__all__ = ["as_completed", "gather", "select", "wait_completed"]


async def gather(*futures: DurableFuture[Any]) -> list[DurableFuture[Any]]:
    """Wait until all are done, failed ones included; return them in the order given."""
    return await howdah_futures.gather(*futures) if futures else []


async def select(**kws: DurableFuture[Any]) -> list[Any]:
    """Wait for the first of several named futures; return `[name, value]`.

    Raises:
        TerminalError: the first one to be done failed.
        UsageError: none is given. HD1000.
    """
    return await howdah_futures.select(**kws)


async def wait_completed(
    *args: DurableFuture[Any],
) -> tuple[list[DurableFuture[Any]], list[DurableFuture[Any]]]:
    """Wait until at least one is done; return (done, pending)."""
    return await howdah_futures.wait_completed(*args) if args else ([], [])


async def as_completed(*futures: DurableFuture[Any]) -> AsyncIterator[DurableFuture[Any]]:
    """Yield the futures in the order in which they are done."""
    if futures:
        async for future in howdah_futures.as_completed(*futures):
            yield future
