"""Call and send: from a request for a handler to an accepted invocation, and to its result.

The invocation is durable before a send is answered and before any code runs for a call. What is
refused here is refused before anything is stored. The order of the checks is part of the
interface: path, method, handler, its visibility, headers, delay, body.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from howdah.options import Options
from howdah.store.registry import HandlerRow, ServiceRow
from howdah.store.units import Outcome
from howdah.worker.engine import Engine, Submission
from howdah_api.ingress.bodies import Intake
from howdah_api.ingress.content import validate_input
from howdah_api.ingress.delays import parse_delay, refuse_delay
from howdah_api.ingress.heads import INGRESS_PATH, Head
from howdah_api.ingress.paths import Target, parse_target
from howdah_api.ingress.scopes import check_scope, read_limit_key
from howdah_api.ingress.waits import Waits
from howdah_api.problems import (
    Header,
    Problem,
    Reply,
    already_invoked,
    error_reply,
    json_reply,
    method_not_allowed,
    private_service,
    unknown_handler,
    unknown_service,
)
from howdah_api.times import timestamp

METHODS: Final = ("GET", "POST")
STATUS_MIN: Final = 200  # below are interim responses, which no client takes for an answer
STATUS_MAX: Final = 999


class Calls:
    """Serves the paths that name a handler."""

    def __init__(self, engine: Engine, options: Options, waits: Waits) -> None:
        self._engine = engine
        self._registry = engine.registry
        self._bytes_max = options.body_bytes_max
        self._delay_max = options.delay_max
        self._waits = waits

    async def answer(
        self,
        segments: Sequence[str],
        *,
        method: str,
        full_path: str,
        query_string: bytes,
        head: Head,
        intake: Intake,
        is_send: bool | None = None,
        scope: str | None = None,
    ) -> Reply:
        """Answer one call or send.

        Args:
            segments: The raw path from the service name on.
            method: HTTP method, upper case.
            full_path: Path and query as they were sent; the handler sees them.
            query_string: What follows `?`.
            head: The request's headers.
            intake: The request's body.
            is_send: For paths that say so before the service; None to read it off the path.
            scope: For paths that name one.

        Raises:
            Problem: the request is refused; nothing was stored.
            StoreUnavailable: the database cannot be reached.
        """
        service = self._registry.service(segments[0])
        if service is None or not service.handlers:
            service = await self.find_service(segments[0])
        target = parse_target(segments[1:], is_keyed=service.kind != "service", is_send=is_send)
        if method not in METHODS:
            raise method_not_allowed(*METHODS)
        handler = service.handlers.get(target.handler) or await self.find_handler(
            service.name, target.handler
        )
        delay = self._check(handler, target, head, query_string)
        if scope is not None:
            check_scope(scope, handler.service_kind)
        limit_key = read_limit_key(head, query_string, scope)
        body = await intake.read(self._bytes_max)
        validate_input(
            accept=handler.input_content_type,
            is_required=handler.input_required,
            content_type=head.content_type,
            body=body,
        )
        accepted = await self._engine.accept(
            Submission(
                handler=handler,
                key=target.key,
                body=body,
                headers=[(INGRESS_PATH, full_path), *head.headers],
                idempotency_key=head.idempotency_key,
                delay=delay,
                wait=not target.is_send,
                scope=scope,
                limit_key=limit_key,
            )
        )
        if target.is_send:
            return send_reply(str(accepted.id), accepted.is_new, accepted.execution_time)
        assert accepted.outcome is not None, "a call waits for its outcome"
        if handler.kind == "workflow" and not accepted.is_new:
            # Who wants its result attaches; to call once more is most likely a mistake.
            asyncio.ensure_future(accepted.outcome).cancel()
            raise already_invoked(str(accepted.id))
        outcome = await self._waits.outcome(accepted.id, accepted.outcome, intake)
        return outcome_reply(outcome, handler, is_stored=not accepted.is_new)

    async def find_service(self, name: str) -> ServiceRow:
        """The service of that name, after asking the database when it is not known yet.

        Raises:
            Problem: 404.
        """
        service = self._registry.service(name)
        if service is None or not service.handlers:
            await self._registry.refresh()
            service = self._registry.service(name)
        if service is None or not service.handlers:
            raise unknown_service(name)
        return service

    async def find_handler(self, service_name: str, name: str) -> HandlerRow:
        """The handler of that name, after asking the database when it is not known yet.

        Raises:
            Problem: 404.
        """
        service = await self.find_service(service_name)
        handler = service.handlers.get(name)
        if handler is None:
            await self._registry.refresh()
            handler = (await self.find_service(service_name)).handlers.get(name)
        if handler is None:
            raise unknown_handler(service_name, name)
        return handler

    def _check(
        self, handler: HandlerRow, target: Target, head: Head, query_string: bytes
    ) -> timedelta | None:
        if not handler.is_public:
            raise private_service()
        if head.bad_header is not None:
            raise head.bad_header
        if head.idempotency_key is not None and handler.kind == "workflow":
            raise Problem(
                400,
                "cannot use the idempotency key with workflow handlers. The handler invocation"
                " will already be idempotent by the workflow key itself.",
            )
        if not query_string:
            return None
        if target.is_send:
            return parse_delay(query_string, self._delay_max)
        refuse_delay(query_string)
        return None


def send_reply(invocation_id: str, is_new: bool, execution_time: datetime | None) -> Reply:
    """202 for a send: `{"invocationId", "executionTime"?, "status"}`.

    `executionTime` is there for delayed sends only, in UTC with nine fractional digits.
    """
    body = {"invocationId": invocation_id}
    if execution_time is not None:
        body["executionTime"] = timestamp(execution_time)
    body["status"] = "Accepted" if is_new else "PreviouslyAccepted"
    return json_reply(202, body, headers=[(b"x-restate-id", invocation_id.encode())])


def outcome_reply(outcome: Outcome, handler: HandlerRow | None, *, is_stored: bool) -> Reply:
    """The answer of a completed invocation: its output as it is, or its failure as JSON.

    Args:
        outcome: How the invocation ended.
        handler: Says the content type of its output; None when it is not known any more.
        is_stored: True when the answer comes from a stored completion (a repeated idempotency
            key, attach, output): then `idempotency-expires` says until when it is kept.
    """
    headers: list[Header] = [(b"x-restate-id", str(outcome.id).encode())]
    if is_stored and outcome.expires_at is not None:
        expires = outcome.expires_at.astimezone(UTC).isoformat(timespec="milliseconds")
        headers.append((b"idempotency-expires", expires.encode()))
    if outcome.outcome == "succeeded":
        content_type = handler.output_content_type if handler is not None else None
        is_labelled = outcome.value or (handler is not None and handler.labels_empty_output)
        if content_type and is_labelled:
            headers.append((b"content-type", content_type.encode("latin-1")))
        return Reply(200, headers, outcome.value)
    code = outcome.code or 500
    return error_reply(
        code if STATUS_MIN <= code <= STATUS_MAX else 500,
        outcome.message or "",
        source="invocation",
        metadata=outcome.metadata,
        headers=headers,
    )
