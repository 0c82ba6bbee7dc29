"""`POST /query`: SQL over the views of the schema `restate`, as JSON or as a stream of Arrow.

Few queries run at once, whoever asks: the others wait for a moment, and are then told to come back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from howdah.store.asking import QueryFailed, asked
from howdah.worker.engine import Engine
from howdah_api.admin.replies import INTAKE, Refusal, read_json
from howdah_api.ingress.bodies import Intake
from howdah_api.problems import RETRY_AFTER_SECONDS, ClientLeft
from howdah_api.query import arrow
from howdah_api.query.arrow import ArrowRows
from howdah_api.query.failures import QueryRefused
from howdah_api.query.rows import MEDIA_TYPE, JsonRows
from howdah_api.query.tokens import QUERY_CHARACTERS_MAX
from howdah_api.query.translate import Translated, translate

BODY_BYTES_MAX: Final = 4 * QUERY_CHARACTERS_MAX + 1024
PARALLEL: Final = 2
"""Queries that this process has at the database at once; each has a connection of its own."""
WAITING_MAX: Final = 16
WAIT_SECONDS: Final = 5.0
PIECE_BYTES: Final = 64 * 1024
_LONG_CHARACTERS: Final = 4096  # reading more than this takes longer than other requests may wait


class Asked(msgspec.Struct):
    """`{"query"}`."""

    query: str


class Queries:
    """`/query`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._places = asyncio.Semaphore(PARALLEL)
        self._waiting = 0

    async def post(self, request: Request) -> Response:
        """The rows, unless they are switched off: JSON if `Accept` is exactly `application/json`, otherwise Arrow."""
        if not self._engine.options.query:
            raise _refusal(403, "Queries are switched off here: HOWDAH_QUERY is no")
        given = await read_json(request, Asked, bytes_max=BODY_BYTES_MAX)
        is_json = request.headers.get("accept", "").strip().lower() == MEDIA_TYPE
        if not is_json and not arrow.is_installed():
            raise Refusal(
                406,
                f"Answers are {arrow.MEDIA_TYPE} unless the request has `Accept: {MEDIA_TYPE}`, and"
                " this server cannot write them: pip install howdah[arrow] where it runs",
            )
        try:
            if len(given.query) > _LONG_CHARACTERS:
                translated = await asyncio.to_thread(translate, given.query)
            else:
                translated = translate(given.query)
        except QueryRefused as refused:
            raise _refusal(refused.status, refused.message) from None
        return _Reply(self, translated, JsonRows if is_json else ArrowRows)

    async def enter(self) -> None:
        """Wait for a place; `leave` gives it back.

        Raises:
            Refusal: 429, too many wait, or this one did for too long.
        """
        if self._waiting < WAITING_MAX:
            self._waiting += 1
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await self._places.acquire()
                    return
            except TimeoutError:
                pass
            finally:
                self._waiting -= 1
        retry_after = {"retry-after": str(RETRY_AFTER_SECONDS)}
        raise Refusal(429, "Too many queries run at once. Try again", headers=retry_after)

    def leave(self) -> None:
        """Give a place back."""
        self._places.release()

    async def pieces(
        self, translated: Translated, encoder: type[JsonRows | ArrowRows]
    ) -> AsyncGenerator[bytes, None]:
        """The answer's body, in pieces; the first comes when there is no other, or much."""
        await self.enter()
        try:
            async with asked(self._engine.database.dsn, translated.sql) as answer:
                encode = encoder(translated.columns, answer.types)
                parts = [encode.begin()]
                size = 0
                async for rows in answer.portions():
                    for part in encode.rows(rows):
                        parts.append(part)
                        size += len(part)
                        if size >= PIECE_BYTES:
                            yield b"".join(parts)
                            parts.clear()
                            size = 0
                parts.append(encode.end())
            yield b"".join(parts)
        finally:
            self.leave()


class _Reply(Response):
    """Sends an answer while it comes, and ends the query when the client leaves."""

    def __init__(
        self, queries: Queries, translated: Translated, encoder: type[JsonRows | ArrowRows]
    ) -> None:
        super().__init__(media_type=encoder.media_type)
        del self.headers["content-length"]
        self._pieces = queries.pieces(translated, encoder)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        intake: Intake = scope[INTAKE]
        leaving = asyncio.ensure_future(intake.wait_for_disconnect())
        answering = asyncio.ensure_future(self._answer(send))
        try:
            await asyncio.wait({leaving, answering}, return_when=asyncio.FIRST_COMPLETED)
            if not answering.done():
                raise ClientLeft
            await answering
        finally:
            leaving.cancel()
            answering.cancel()
            await asyncio.gather(leaving, answering, return_exceptions=True)

    async def _answer(self, send: Send) -> None:
        is_begun = False
        try:
            async for piece in self._pieces:
                if not is_begun:
                    await send(
                        {
                            "type": "http.response.start",
                            "status": 200,
                            "headers": self.raw_headers,
                        }
                    )
                    is_begun = True
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        except QueryFailed as failed:
            # An answer that has begun ends without its end: the client sees that it is not whole.
            if failed.is_meaningless:
                raise _refusal(400, f"Error during planning: {failed.message}") from None
            raise _refusal(500, f"Execution error: {failed.message}") from None
        finally:
            await self._pieces.aclose()
        await send({"type": "http.response.body", "body": b""})


def _refusal(status: int, message: str) -> Refusal:
    return Refusal(status, f"Datafusion error: {message}")
