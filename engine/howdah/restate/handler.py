"""From a declared function to the handler that it is, and to how it is executed."""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, Final

from howdah.handler import ANYTHING, Handler, handler_of
from howdah.restate.context import HandlerType
from howdah.restate.server_context import execute
from howdah.serde import BytesSerde, DefaultSerde, JsonSerde, PydanticJsonSerde, Serde

__all__ = ["Handler", "HandlerType", "handler_from_callable"]

JSON: Final = "application/json"
_OWN_SERDES = (BytesSerde, DefaultSerde, JsonSerde, PydanticJsonSerde)

handler_from_callable = handler_of


def adapted(handler: Handler[Any, Any]) -> Handler[Any, Any]:
    """Return a handler whose function is given the SDK's context.

    A `def` function runs in a thread with a context of `howdah.blocking`: the SDK has none.
    """
    if not handler.is_async:
        return handler
    fn = handler.fn

    @functools.wraps(fn)
    async def in_context(ctx: Any, *arguments: Any) -> Any:
        return await execute(fn, ctx, *arguments)

    return replace(handler, fn=in_context)


def accepted(accept: str | None, serde: Serde[Any]) -> str | None:
    """The media type to declare for the input.

    JSON is the default, so it may not have been meant: then it is what howdah's serde reads, and
    anything for a serde of the program's own.
    """
    if accept != JSON:
        return accept
    return None if isinstance(serde, _OWN_SERDES) else ANYTHING
