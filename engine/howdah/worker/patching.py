"""The hidden handler of every object and workflow that changes or replaces the state of one key.

Operators edit state the way handlers do: in the key's turn, recorded in a journal.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

import msgspec

from howdah.context import ObjectContext
from howdah.handler import Handler, HandlerOptions
from howdah.retry import InvocationRetryPolicy
from howdah.serde import BytesSerde, serde_for
from howdah.service import SET_STATE


class StatePatch(msgspec.Struct):
    """What becomes of a key's state.

    Attributes:
        state: The whole new state; None leaves what is there.
        version: Only if the state has this version still.
        changes: After that, new values of single entries; None clears one.
    """

    state: dict[str, bytes] | None = None
    version: str | None = None
    changes: dict[str, bytes | None] = {}


_RAW = BytesSerde()


async def _set_state(ctx: ObjectContext, patch: StatePatch) -> None:
    if patch.version is not None:
        names = await ctx.state_keys()
        pairs = [(name, await ctx.get(name, serde=_RAW) or b"") for name in names]
        if state_version(pairs) != patch.version:
            return
    if patch.state is not None:
        ctx.clear_all()
    for name, value in {**(patch.state or {}), **patch.changes}.items():
        if value is None:
            ctx.clear(name)
        else:
            ctx.set(name, value, serde=_RAW)


def state_version(pairs: list[tuple[str, bytes]]) -> str:
    """A digest of a key's whole state: it changes when the state does.

    Base64url without padding of the SHA-256 over the entries in order of their names: each one's
    index (8 bytes, big-endian), 1, name, 2, value, 3.
    """
    digest = sha256()
    for index, (name, value) in enumerate(sorted(pairs)):
        digest.update(
            index.to_bytes(8, "big") + b"\x01" + name.encode() + b"\x02" + value + b"\x03"
        )
    return urlsafe_b64encode(digest.digest()).decode().rstrip("=")


def patch_handler(service: str, kind: str) -> Iterator[tuple[str, Handler[Any, Any]]]:
    """The hidden handler of a service with state, by name; nothing for a plain service."""
    if kind == "service":
        return
    yield (
        SET_STATE,
        Handler(
            service=service,
            service_kind="workflow" if kind == "workflow" else "object",
            name=SET_STATE,
            kind="exclusive",
            fn=_set_state,
            is_async=True,
            input_serde=serde_for(StatePatch),
            output_serde=serde_for(type(None)),
            input_type=StatePatch,
            output_type=None,
            takes_input=True,
            input_required=True,
            accept="application/json",
            content_type="application/json",
            options=HandlerOptions(),
            retry_policy=InvocationRetryPolicy().resolve(),
        ),
    )
