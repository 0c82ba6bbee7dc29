"""Stands in for a handler that the version which began an invocation does not have."""

from __future__ import annotations

from typing import Any

from howdah.errors import UnknownTarget
from howdah.handler import Handler, HandlerOptions
from howdah.retry import InvocationRetryPolicy
from howdah.serde import BytesSerde
from howdah.store.registry import HandlerRow


def missing_handler(row: HandlerRow) -> Handler[Any, Any]:
    """A handler whose attempts fail with HD1008, to be retried until somebody serves the real one."""

    async def missing(ctx: object) -> None:
        raise UnknownTarget(target=f"{row.service}/{row.name}")

    raw = BytesSerde()
    return Handler(
        service=row.service,
        service_kind="service",
        name=row.name,
        kind="stateless",
        fn=missing,
        is_async=True,
        input_serde=raw,
        output_serde=raw,
        input_type=None,
        output_type=None,
        takes_input=False,
        input_required=False,
        accept="*/*",
        content_type="application/octet-stream",
        options=HandlerOptions(),
        retry_policy=InvocationRetryPolicy().resolve(),
    )
