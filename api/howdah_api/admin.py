"""The admin port: whether this process is healthy, and which version it is."""

from __future__ import annotations

from importlib.metadata import version

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from howdah.worker.engine import Engine
from howdah_api.problems import RETRY_AFTER_SECONDS


def create_admin(engine: Engine, *, ingress_url: str) -> Starlette:
    """The admin application.

    Args:
        engine: Whose health is told.
        ingress_url: Where requests for handlers go, as clients reach it.
    """

    async def health(_: Request) -> Response:
        if engine.is_ready:
            return Response(status_code=200)
        return _error(
            503,
            "the database cannot be reached, or this process is stopping",
            headers={"retry-after": str(RETRY_AFTER_SECONDS)},
        )

    async def tell_version(_: Request) -> Response:
        return JSONResponse({"version": version("howdah"), "ingress_endpoint": ingress_url})

    return Starlette(
        routes=[
            Route("/health", health, methods=["GET"]),
            Route("/version", tell_version, methods=["GET"]),
        ],
        exception_handlers={HTTPException: _refused, Exception: _failed},
    )


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = error.detail
    if error.status_code == 404:
        message = f"There is nothing at {request.scope['path']}"
    return _error(error.status_code, message, headers=dict(error.headers or {}))


async def _failed(_: Request, __: Exception) -> Response:
    return _error(500, "internal error, see the log of the server")


def _error(status: int, message: str, *, headers: dict[str, str] | None = None) -> Response:
    body = {"message": message, "restate_code": None}
    return JSONResponse(body, status_code=status, headers=headers)
