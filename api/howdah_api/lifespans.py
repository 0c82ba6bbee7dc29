"""The server's lifespan, as far as an application must take part in it."""

from __future__ import annotations

from starlette.types import Receive, Send


async def serve_lifespan(receive: Receive, send: Send) -> None:
    """Take part in the server's lifespan without doing anything: the engine has its own."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
