"""Attach, output, lookup and health: what can be asked about invocations that exist.

Two families of paths name the same things: by invocation id, by idempotency key and by a workflow's
key in the path, and `POST /restate/{attach,output,lookup}` with the target as a JSON body. Nothing
here changes anything that is stored.

Who has an invocation's id may ask for its result, whatever handler it is of: nobody guesses an id.
Keys can be guessed, so by key only public handlers are found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import msgspec

from howdah.errors import NotFound, UsageError
from howdah.ids import parse_id
from howdah.store.registry import HandlerRow
from howdah.worker.engine import Engine
from howdah_api.ingress.bodies import Intake
from howdah_api.ingress.calls import Calls, outcome_reply
from howdah_api.ingress.paths import decode_key, parse_target
from howdah_api.ingress.scopes import check_scope, unscoped
from howdah_api.ingress.waits import Waits
from howdah_api.problems import (
    Problem,
    Reply,
    bad_service_path,
    json_reply,
    method_not_allowed,
    not_found,
    private_service,
    unavailable,
)

VERBS: Final = ("attach", "output")
BODY_BYTES_MAX: Final = 64 * 1024
OUTPUT_NOT_READY: Final = 470  # the exists-but-not-yet status that clients of this interface know
# `restate/invocation/{id}/{verb}` is the shortest and the longest path of a single invocation.
_BY_ID_SEGMENTS: Final = 4


class InvocationTarget(msgspec.Struct, tag_field="target", tag="invocation"):
    """`{"target": "invocation", "invocationId"}`."""

    invocation_id: str = msgspec.field(name="invocationId")


class WorkflowTarget(msgspec.Struct, tag_field="target", tag="workflow"):
    """`{"target": "workflow", "workflowName", "workflowKey", "scope"?}`."""

    workflow_name: str = msgspec.field(name="workflowName")
    workflow_key: str = msgspec.field(name="workflowKey")
    scope: str | None = None


class IdempotentTarget(msgspec.Struct, tag_field="target", tag="idempotentInvocation"):
    """`{"target": "idempotentInvocation", "service", "key"?, "handler", "idempotencyKey"}`."""

    service: str
    handler: str
    idempotency_key: str = msgspec.field(name="idempotencyKey")
    key: str | None = None
    scope: str | None = None


_decode_target = msgspec.json.Decoder(InvocationTarget | WorkflowTarget | IdempotentTarget).decode


class Results:
    """Serves the paths that name an invocation, and the health of this process."""

    def __init__(self, engine: Engine, calls: Calls, waits: Waits) -> None:
        self._engine = engine
        self._calls = calls
        self._waits = waits

    async def answer(self, segments: Sequence[str], *, method: str, intake: Intake) -> Reply:
        """Answer one request below `/restate/`, calls and sends excepted.

        Args:
            segments: The raw path, `restate` first.
            method: HTTP method, upper case.
            intake: The request's body.

        Raises:
            Problem: the request is refused, or what it asks about is not there.
            StoreUnavailable: the database cannot be reached.
        """
        word, count = segments[1], len(segments)
        if word == "health" and count == 2:
            _require(method, "GET")
            return self._health()
        if word in (*VERBS, "lookup") and count == 2:
            _require(method, "POST")
            return await self._by_body(word, intake)
        if word in VERBS and count == 3:
            _require(method, "GET")
            return await self._result(word, _read_id(segments[2]), intake)
        if word == "invocation" and count >= _BY_ID_SEGMENTS and segments[-1] in VERBS:
            _require(method, "GET")
            return await self._by_path(segments[2:-1], segments[-1], intake)
        if word == "workflow" and count == 5 and segments[-1] in VERBS:
            _require(method, "GET")
            return await self._workflow(segments[4], segments[2], decode_key(segments[3]), intake)
        raise not_found()

    def _health(self) -> Reply:
        if not self._engine.is_ready:
            raise unavailable("the database cannot be reached, or this process is stopping")
        services = self._engine.registry.services.values()
        names = sorted(service.name for service in services if service.handlers)
        return json_reply(200, {"services": names})

    async def _by_path(self, named: Sequence[str], verb: str, intake: Intake) -> Reply:
        if len(named) == 1:
            return await self._result(verb, _read_id(named[0]), intake)
        *path, idempotency_key = named
        service = await self._calls.find_service(path[0])
        target = parse_target(path[1:], is_keyed=service.kind != "service", is_send=False)
        return await self._idempotent(
            verb,
            path[0],
            key=target.key,
            handler_name=target.handler,
            idempotency_key=idempotency_key,
            intake=intake,
        )

    async def _by_body(self, verb: str, intake: Intake) -> Reply:
        body = await intake.read(BODY_BYTES_MAX)
        try:
            target = _decode_target(body)
        except msgspec.MsgspecError as error:
            raise Problem(500, f"cannot read body: {error}") from error
        except (RecursionError, UnicodeDecodeError) as error:
            raise Problem(500, "cannot read body: it is nested too deeply or not UTF-8") from error
        if isinstance(target, InvocationTarget):
            return await self._result(verb, _read_id(target.invocation_id), intake)
        if isinstance(target, WorkflowTarget):
            if target.scope is not None:
                raise unscoped("workflow")
            return await self._workflow(
                verb, target.workflow_name, _checked_key(target.workflow_key), intake
            )
        service = await self._calls.find_service(target.service)
        if (service.kind != "service") != bool(target.key):
            raise bad_service_path()
        if target.scope is not None:
            check_scope(target.scope, service.kind)
        return await self._idempotent(
            verb,
            target.service,
            key=_checked_key(target.key) if target.key else None,
            handler_name=target.handler,
            idempotency_key=target.idempotency_key,
            intake=intake,
            scope=target.scope,
        )

    async def _workflow(self, verb: str, name: str, key: str, intake: Intake) -> Reply:
        service = await self._calls.find_service(name)
        for handler in service.handlers.values():
            if handler.kind == "workflow":
                # The run of a key has an entry of its own among the idempotency keys.
                return await self._found(verb, handler, key, "", intake)
        raise Problem(400, f"the service '{name}' is not a workflow")

    async def _idempotent(
        self,
        verb: str,
        service: str,
        *,
        key: str | None,
        handler_name: str,
        idempotency_key: str,
        intake: Intake,
        scope: str | None = None,
    ) -> Reply:
        handler = await self._calls.find_handler(service, handler_name)
        if not idempotency_key or "\0" in idempotency_key:
            raise _unknown(verb)
        return await self._found(verb, handler, key, idempotency_key, intake, scope)

    async def _found(
        self,
        verb: str,
        handler: HandlerRow,
        key: str | None,
        idempotency_key: str,
        intake: Intake,
        scope: str | None = None,
    ) -> Reply:
        if not handler.is_public:
            raise private_service()
        found = await self._engine.find_idempotent(handler, key, idempotency_key, scope)
        if found is None:
            raise _unknown(verb)
        return await self._result(verb, found, intake)

    async def _result(self, verb: str, invocation_id: UUID, intake: Intake) -> Reply:
        id_text = str(invocation_id)
        if verb == "lookup":
            return json_reply(200, {"invocationId": id_text})
        try:
            if verb == "output":
                outcome = await self._engine.output(invocation_id)
                if outcome is None:
                    message = "the invocation exists but has not completed yet"
                    raise Problem(OUTPUT_NOT_READY, message)
            else:
                waiting = self._engine.attach(invocation_id)
                outcome = await self._waits.outcome(invocation_id, waiting, intake)
        except NotFound as error:
            raise _unknown(verb, id_text) from error
        handlers = self._engine.registry.handlers
        handler = None if outcome.handler_no is None else handlers.get(outcome.handler_no)
        return outcome_reply(outcome, handler, is_stored=True)


def _require(method: str, allowed: str) -> None:
    if method != allowed:
        raise method_not_allowed(allowed)


def _checked_key(key: str) -> str:
    if not key:
        raise bad_service_path()
    if "\0" in key:
        raise Problem(400, "bad path, cannot decode key: it holds a NUL character")
    return key


def _read_id(text: str) -> UUID:
    try:
        return parse_id(text)
    except UsageError as error:
        raise Problem(400, f"bad invocation id '{text}': bad format") from error


def _unknown(verb: str, id_text: str | None = None) -> Problem:
    if verb != "attach":
        return Problem(404, "invocation not found")
    headers: Any = [(b"x-restate-id", id_text.encode())] if id_text is not None else []
    return Problem(404, "not found", source="invocation", headers=headers)
