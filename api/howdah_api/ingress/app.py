"""The ingress as one ASGI application: from a scope to a reply, whatever happens between.

Owns the order of the first checks (ambiguous length, declared size, CORS, path) and the one place
where failures become answers. A client never sees a stack trace or a bare 500.
"""

from __future__ import annotations

import logging
from typing import Final

from starlette.types import Receive, Scope, Send

from howdah.errors import NotFound, StoreUnavailable
from howdah.options import Options
from howdah.worker.engine import Engine
from howdah_api.ingress.awakeables import VERBS, WORDS, Awakeables
from howdah_api.ingress.bodies import BodyTooLarge, Intake, end_exchange
from howdah_api.ingress.calls import Calls
from howdah_api.ingress.cors import cors_headers, preflight
from howdah_api.ingress.heads import Head, read_head, withheld_headers
from howdah_api.ingress.paths import is_scoped, split_path
from howdah_api.ingress.results import Results
from howdah_api.ingress.waits import Waits
from howdah_api.lifespans import serve_lifespan
from howdah_api.problems import (
    ClientLeft,
    Problem,
    Reply,
    bad_path,
    not_found,
    overloaded,
    too_large,
    unavailable,
)

logger = logging.getLogger(__name__)

EXCHANGES_MAX: Final = 50_000  # requests in flight, waiting clients included; above it 429
_STALLED: Final = 408


class IngressApp:
    """Serves the ingress port.

    Args:
        engine: Accepts invocations and knows their results.
        options: Bounds of bodies and delays, and which credentials handlers may see.
    """

    def __init__(self, engine: Engine, options: Options) -> None:
        self._waits = Waits()
        self._calls = Calls(engine, options, self._waits)
        self._results = Results(engine, self._calls, self._waits)
        self._awakeables = Awakeables(engine, options)
        self._bytes_max = options.body_bytes_max
        self._withheld = withheld_headers(options.header_allow)
        self._count = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange of HTTP, or the server's lifespan."""
        kind = scope["type"]
        if kind == "http":
            self._count += 1
            try:
                await self._exchange(scope, receive, send)
            finally:
                self._count -= 1
        elif kind == "lifespan":
            await serve_lifespan(receive, send)
        elif kind == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1003})

    def close_waits(self) -> int:
        """Answer every waiting client with 503, for a process that stops; return how many."""
        return self._waits.close()

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = read_head(scope["headers"], self._withheld)
        intake = Intake(receive)
        try:
            reply = await self._answer(scope, head, intake)
        except Problem as problem:
            reply = problem.reply()
        except BodyTooLarge:
            reply = too_large()
        except ClientLeft:
            return
        except StoreUnavailable:
            reply = unavailable("the database cannot be reached, try again").reply()
        except NotFound:
            reply = Problem(404, "not found", source="invocation").reply()
        except Exception:
            logger.exception("request failed", extra={"method": scope["method"]})
            reply = Problem(500, "internal error, see the log of the server").reply()
        if intake.is_finished:
            await _send_reply(send, reply, head.origin)
            return
        await _send_reply(send, reply, head.origin, is_last=False)
        await end_exchange(send, intake, is_stalled=reply.status == _STALLED)

    async def _answer(self, scope: Scope, head: Head, intake: Intake) -> Reply:
        if head.is_ambiguous:
            # Whatever follows may have been meant as another request by someone in between.
            raise Problem(
                400,
                "both content-length and transfer-encoding are given",
                headers=[(b"connection", b"close")],
            )
        if head.content_length is not None and head.content_length > self._bytes_max:
            return too_large()
        if self._count > EXCHANGES_MAX:
            raise overloaded()
        method: str = scope["method"]
        if method == "OPTIONS":
            return preflight(scope["headers"])
        raw_path: bytes = scope["raw_path"]
        query_string: bytes = scope["query_string"]
        segments = split_path(raw_path)
        first = segments[0]
        is_send = scope_name = None
        if first == "restate":
            if is_scoped(segments):
                scope_name = segments[2]
                del segments[1:3]
            word = segments[1]
            if word in WORDS and len(segments) == 4 and segments[3] in VERBS:
                return await self._awakeables.answer(segments, method=method, intake=intake)
            if word not in ("call", "send"):
                return await self._results.answer(segments, method=method, intake=intake)
            if len(segments) < 4:
                raise bad_path(raw_path.decode("latin-1"))
            is_send = word == "send"
            segments = segments[2:]
        elif first == "openapi":
            raise not_found()
        full_path = raw_path if not query_string else b"%b?%b" % (raw_path, query_string)
        return await self._calls.answer(
            segments,
            method=method,
            full_path=full_path.decode("latin-1"),
            query_string=query_string,
            head=head,
            intake=intake,
            is_send=is_send,
            scope=scope_name,
        )


async def _send_reply(
    send: Send, reply: Reply, origin: bytes | None, *, is_last: bool = True
) -> None:
    body = reply.body
    headers = [*reply.headers, (b"content-length", b"%d" % len(body))]
    if reply.is_cors:
        headers += cors_headers(origin)
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": not is_last})
