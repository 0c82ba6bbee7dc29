"""Hints between processes: NOTIFY out, LISTEN in. Polling and the sweep are the truth.

NOTIFY takes a lock for the whole database at commit, so it never rides in the commit lane. The
notifier sends at once when nothing is in flight and merges what comes meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

import asyncpg

from howdah.errors import StoreUnavailable
from howdah.store.database import DRIVER_ERRORS, connect

logger = logging.getLogger(__name__)

WORK = "howdah_work"
MAILS = "howdah_mail"
ORDERS = "howdah_order"
REGISTRY = "howdah_registry"
GAP_SECONDS = 0.001
"""Between two notifications at least."""
IDS_MAX = 150
"""Ids in one payload at most: a payload ends at 8,000 bytes."""
LISTEN_CHECK_SECONDS = 5.0
"""How often the listening connection is asked whether it is alive."""
RECONNECT_SECONDS = 0.5

NOTIFY = "select pg_catalog.pg_notify(c, p) from unnest($1::text[], $2::text[]) x(c, p)"


MAIL = "m:"
COMPLETED = "c:"
TAKEN = "k:"


def channel_of(worker_no: int) -> str:
    """The channel of one process."""
    return f"howdah_w{worker_no}"


def mail_word(id_: UUID) -> str:
    """Say to a process: this invocation, which it executes, has mail."""
    return f"{MAIL}{id_}"


def completed_word(id_: UUID) -> str:
    """Say to a process: this invocation, for which a client of it may wait, is completed."""
    return f"{COMPLETED}{id_}"


def taken_word(id_: UUID) -> str:
    """Say to a process: this invocation, which it executes, is not its own any more."""
    return f"{TAKEN}{id_}"


def payloads_of(words: Mapping[str, Iterable[str]]) -> tuple[list[str], list[str]]:
    """The arguments of `NOTIFY` for words by channel: channels and payloads, pair by pair."""
    channels, payloads = [], []
    for channel, some in words.items():
        listed = list(some)
        for first in range(0, len(listed), IDS_MAX):
            channels.append(channel)
            payloads.append(" ".join(listed[first : first + IDS_MAX]))
    return channels, payloads


class Notifier:
    """Sends hints on a connection of its own, self-clocked."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._words: dict[str, dict[str, None]] = {}
        self._wanted = asyncio.Event()
        self._connection: asyncpg.Connection[Any] | None = None

    def add(self, channel: str, word: str) -> None:
        """Send `word` to `channel` soon; equal ones merge."""
        self._words.setdefault(channel, {})[word] = None
        self._wanted.set()

    async def run(self) -> None:
        """Send until cancelled. What can't be sent is dropped: it was a hint."""
        try:
            while True:
                await self._wanted.wait()
                self._wanted.clear()
                words, self._words = self._words, {}
                channels, payloads = payloads_of(words)
                try:
                    if self._connection is None or self._connection.is_closed():
                        self._connection = await connect(
                            self._dsn, "notifier", synchronous_commit="off"
                        )
                    await self._connection.execute(NOTIFY, channels, payloads)
                except (StoreUnavailable, *DRIVER_ERRORS):
                    logger.debug("hints were not sent", extra={"count": len(payloads)})
                    await asyncio.sleep(RECONNECT_SECONDS)
                await asyncio.sleep(GAP_SECONDS)
        finally:
            if self._connection is not None:
                self._connection.terminate()


class Listener:
    """Receives hints on a connection of its own.

    Args:
        channels: What to listen to; asked again at each connection.
        on_words: Called with channel and the words of a payload.
        on_gap: Called after each (re)connection: hints may have been missed.
    """

    def __init__(
        self,
        dsn: str,
        channels: Callable[[], list[str]],
        on_words: Callable[[str, list[str]], None],
        on_gap: Callable[[], None],
    ) -> None:
        self._dsn = dsn
        self._channels = channels
        self._on_words = on_words
        self._on_gap = on_gap
        self._renew = asyncio.Event()
        self.is_listening = False

    def renew(self) -> None:
        """Connect again: the channels changed."""
        self._renew.set()

    async def run(self) -> None:
        """Listen until cancelled, reconnecting for ever."""
        while True:
            connection = None
            try:
                connection = await connect(self._dsn, "listener")
                self._renew.clear()
                connection.add_termination_listener(lambda *_: self._renew.set())
                for channel in self._channels():
                    await connection.add_listener(channel, self._received)
                self.is_listening = True
                self._on_gap()
                while not self._renew.is_set():
                    try:
                        async with asyncio.timeout(LISTEN_CHECK_SECONDS):
                            await self._renew.wait()
                    except TimeoutError:
                        await connection.fetchval("select 1", timeout=LISTEN_CHECK_SECONDS)
            except (StoreUnavailable, *DRIVER_ERRORS):
                await asyncio.sleep(RECONNECT_SECONDS)
            finally:
                self.is_listening = False
                if connection is not None:
                    connection.terminate()

    def _received(self, _connection: Any, _pid: int, channel: str, payload: Any) -> None:
        self._on_words(channel, str(payload).split())
