"""The admin port as one ASGI application: routes, and the one place where failures become answers.

Nothing here sends CORS headers, and what changes something is either no simple request or wants
JSON: a page of another origin can do nothing through a browser that reaches this port.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route, Router
from starlette.types import Message, Receive, Scope, Send

from howdah.errors import StoreUnavailable
from howdah.remote.connecting import Connector
from howdah.worker.engine import Engine
from howdah_api.admin.batches import Batches
from howdah_api.admin.deployments import Deployments
from howdah_api.admin.health import Health
from howdah_api.admin.invocations import Invocations
from howdah_api.admin.query import Queries
from howdah_api.admin.replies import INTAKE, Refusal, error, unavailable
from howdah_api.admin.rules import Rules
from howdah_api.admin.services import Services
from howdah_api.admin.state import State
from howdah_api.admin.versions import NEWEST, OLDEST, VERSION, without_version
from howdah_api.ingress.bodies import BodyTooLarge, Intake, end_exchange
from howdah_api.lifespans import serve_lifespan
from howdah_api.problems import ClientLeft, Problem

logger = logging.getLogger(__name__)

Endpoint = Callable[[Request], Awaitable[Response]]
_STALLED: Final = 408
_TOO_OLD: Final = "Version 1 of this interface is not served; there are /v2, /v3 and /v4"


def create_admin(engine: Engine, *, connector: Connector, ingress_url: str) -> AdminApp:
    """The admin application.

    Args:
        engine: Carries out what is asked; its process need not execute anything.
        connector: Reaches the endpoints that are registered.
        ingress_url: Where requests for handlers go, as clients reach it; empty when this process
            does not know.
    """
    health = Health(engine, ingress_url)
    invocations = Invocations(engine)
    batches = Batches(invocations)
    services = Services(engine, ingress_url)
    state = State(engine)
    rules = Rules(engine)
    deployments = Deployments(engine, connector)
    routes: list[tuple[str, str, Endpoint]] = [
        ("GET", "/health", health.health),
        ("GET", "/version", health.version),
        ("GET", "/deployments", deployments.all),
        ("POST", "/deployments", deployments.register),
        ("GET", "/deployments/{deployment:path}", deployments.one),
        ("PATCH", "/deployments/{deployment:path}", deployments.change),
        ("PUT", "/deployments/{deployment:path}", deployments.put),
        ("DELETE", "/deployments/{deployment:path}", deployments.remove),
        ("GET", "/services", services.all),
        ("GET", "/services/{service}", services.one),
        ("PATCH", "/services/{service}", services.change),
        ("GET", "/services/{service}/handlers", services.handlers),
        ("GET", "/services/{service}/handlers/{handler}", services.handler),
        ("GET", "/services/{service}/openapi", services.openapi),
        ("POST", "/services/{service}/state", state.replace),
        ("DELETE", "/invocations/{invocation_id}", invocations.delete),
        ("PATCH", "/invocations/{invocation_id}/{verb}", invocations.patch),
        ("POST", "/internal/invocations_batch_operations/{verb}", batches.post),
        ("PUT", "/limits/rules", rules.set),
        ("POST", "/limits/rules/bulk-delete", rules.delete),
        ("POST", "/query", Queries(engine).post),
    ]
    return AdminApp([Route(path, do, methods=[method]) for method, path, do in routes])


class AdminApp:
    """Serves the admin port. Made by `create_admin`.

    Attributes:
        routes: What it serves.
    """

    def __init__(self, routes: list[Route]) -> None:
        self.routes = routes
        self._router = Router(routes, redirect_slashes=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one exchange of HTTP, or the server's lifespan."""
        if scope["type"] == "http":
            await self._exchange(scope, receive, send)
        elif scope["type"] == "lifespan":
            await serve_lifespan(receive, send)
        else:
            await receive()
            await send({"type": "websocket.close", "code": 1003})

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        intake = Intake(receive)
        scope = without_version(scope)
        scope[INTAKE] = intake
        scope["app"] = self  # with it, the router raises instead of answering in plain text
        status = 0

        async def send_whole(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            is_last = message["type"] == "http.response.body" and not message.get("more_body")
            if not is_last or intake.is_finished:
                await send(message)
                return
            await send({**message, "more_body": True})
            await end_exchange(send, intake, is_stalled=status == _STALLED)

        try:
            if scope.get(VERSION, NEWEST) < OLDEST:
                raise HTTPException(400, _TOO_OLD)
            await self._router(scope, receive, send_whole)
        except ClientLeft:
            return
        except Exception as failure:
            answer = _answer(failure, scope)
            if not status:
                await answer(scope, receive, send_whole)


def _answer(failure: Exception, scope: Scope) -> Response:
    if isinstance(failure, Refusal):
        return failure.response()
    if isinstance(failure, HTTPException) and failure.status_code == 400:
        return PlainTextResponse(failure.detail, 400)
    if isinstance(failure, HTTPException):
        message = failure.detail
        if failure.status_code == 404:
            message = f"There is nothing at {scope['path']}"
        elif failure.status_code == 405:
            message = f"{scope['path']} does not take {scope['method']}"
        return error(failure.status_code, message, headers=dict(failure.headers or {}))
    if isinstance(failure, Problem):
        return error(failure.status, failure.message)
    if isinstance(failure, BodyTooLarge):
        return error(413, "The request body is larger than this server takes")
    if isinstance(failure, StoreUnavailable):
        return unavailable(
            "The database cannot be reached; it may have been done or not. Try again"
        )
    logger.error("request failed", exc_info=failure, extra={"method": scope["method"]})
    return error(500, "Internal error, see the log of the server")
