"""Reading request bodies within bounds of size and time.

A body that was not read to its end must still be taken off the connection: over HTTP/1.1 the
server's queue for this request would fill up and hold the connection for ever, and over HTTP/2
its frames would arrive for a stream that is gone. `Intake` remembers whether that is still to do.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.types import Receive, Send

from howdah_api.problems import ClientLeft, Problem

# Longest silence between two parts of a body, and the least average speed after that.
BODY_SILENCE_SECONDS: Final = 10.0
BODY_BYTES_PER_SECOND_MIN: Final = 16 * 1024
# How much of a refused body is read and thrown away, so that the client sees the answer.
DISCARD_BYTES_MAX: Final = 64 * 1024 * 1024
DISCARD_SECONDS: Final = 5.0


class BodyTooLarge(Exception):
    """The body went over its limit while it was read."""


class Intake:
    """The request body of one exchange.

    Attributes:
        is_finished: True once the last part was taken, or the client has left.
    """

    __slots__ = ("_receive", "is_finished", "silence_seconds")

    def __init__(self, receive: Receive, silence_seconds: float = BODY_SILENCE_SECONDS) -> None:
        self._receive = receive
        self.is_finished = False
        self.silence_seconds = silence_seconds

    async def read(self, bytes_max: int) -> bytes:
        """Read the whole body.

        Raises:
            BodyTooLarge: more than `bytes_max` bytes came.
            ClientLeft: the connection closed before the end.
            Problem: 408 when the client sends nothing for `silence_seconds`, or less than
                `BODY_BYTES_PER_SECOND_MIN` on average.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout_at(begun + self.silence_seconds) as deadline:
                parts: list[bytes] = []
                size = 0
                while not self.is_finished:
                    part = await self._take()
                    if not part:
                        continue
                    parts.append(part)
                    size += len(part)
                    if size > bytes_max:
                        raise BodyTooLarge
                    if len(parts) > 1:
                        allowed = begun + self.silence_seconds + size / BODY_BYTES_PER_SECOND_MIN
                        deadline.reschedule(min(allowed, loop.time() + self.silence_seconds))
        except TimeoutError as error:
            raise Problem(408, "the request body did not arrive in time") from error
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def discard(self) -> None:
        """Throw away the rest of the body, within `DISCARD_BYTES_MAX` and `DISCARD_SECONDS`."""
        size = 0
        try:
            async with asyncio.timeout(DISCARD_SECONDS):
                while not self.is_finished and size <= DISCARD_BYTES_MAX:
                    size += len(await self._take())
        except (TimeoutError, ClientLeft):
            return

    async def wait_for_disconnect(self) -> None:
        """Return when the client has left, throwing away whatever it still sends."""
        while (message := await self._receive())["type"] != "http.disconnect":
            if not message.get("more_body", False):
                # Nothing is left to be discarded, should the client stay.
                self.is_finished = True
        self.is_finished = True

    async def _take(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            self.is_finished = True
            raise ClientLeft
        if not message.get("more_body", False):
            self.is_finished = True
        part: bytes = message.get("body", b"")
        return part


async def end_exchange(send: Send, intake: Intake, *, is_stalled: bool) -> None:
    """End an answer that was sent before the request's body was read, `more_body` being true.

    The answer goes first, and ends once the rest of the body is off the connection: a client that
    is still sending sees at once that it need not.

    Args:
        send: Of the exchange.
        intake: Its request body.
        is_stalled: Do not wait for the rest: it does not come.
    """
    if not is_stalled:
        await intake.discard()
    # What arrives even now must be taken off, or the server could not close the exchange.
    rest = asyncio.ensure_future(intake.wait_for_disconnect())
    try:
        await send({"type": "http.response.body", "body": b""})
    finally:
        rest.cancel()
