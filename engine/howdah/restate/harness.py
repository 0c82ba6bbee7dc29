"""A test's own howdah in this process, with the SDK's name for it; `howdah.testing` does the work."""

from __future__ import annotations

import importlib
import logging
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

from howdah.errors import UsageError
from howdah.handler import HandlerOptions
from howdah.restate.client import create_client
from howdah.restate.entry_codec import JournalValueCodec, refuse_codec
from howdah.restate.types import HarnessEnvironment
from howdah.retry import InvocationRetryPolicy
from howdah.service import AnyService, Bundle

__all__ = ["create_test_harness"]

_PORTS = "howdah_api.asgi"
"""What listens; named here and not imported: the engine knows nothing of the api."""

_ONE_ATTEMPT = InvocationRetryPolicy(max_attempts=1, on_max_attempts="kill")


@asynccontextmanager
async def create_test_harness(
    app: Any,
    follow_logs: bool = False,
    restate_image: str = "docker.io/restatedev/restate:latest",
    always_replay: bool = False,
    disable_retries: bool = False,
    journal_value_codec: JournalValueCodec | None = None,
) -> AsyncIterator[HarnessEnvironment]:
    """Serve an app on a database of its own and on free ports, for the length of a block.

    Args:
        app: What `restate.app` returned.
        follow_logs: Write howdah's log to stderr meanwhile.
        restate_image: Without meaning: there is no container.
        always_replay: Every await suspends, and goes on by replaying from the beginning.
        disable_retries: An attempt that fails ends its invocation, unless its handler or service
            says how often to try.
        journal_value_codec: Refused.

    Raises:
        UsageError: `app` is something else, or a codec is given. HD1000.
    """
    from howdah import testing

    refuse_codec(journal_value_codec)
    if not isinstance(app, Bundle):
        raise UsageError(
            f"create_test_harness() was given {type(app).__name__}.",
            hint="Give it what restate.app([...]) returned.",
        )
    with (
        _logs_on_stderr() if follow_logs else nullcontext(),
        _one_attempt(app.services) if disable_retries else nullcontext(),
    ):
        async with (
            testing.environment(app.services, always_replay=always_replay) as env,
            importlib.import_module(_PORTS).on_free_ports(env.engine) as (ingress, admin),
            create_client(ingress) as client,
        ):
            yield HarnessEnvironment(ingress, admin, client)


@contextmanager
def _logs_on_stderr() -> Iterator[None]:
    logger, handler = logging.getLogger("howdah"), logging.StreamHandler()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@contextmanager
def _one_attempt(services: Iterable[AnyService]) -> Iterator[None]:
    """Let handlers be tried once that do not say how often."""
    for service in services:
        service.configure(
            HandlerOptions(),
            {
                name: HandlerOptions(invocation_retry_policy=_ONE_ATTEMPT)
                for name, handler in service.handlers.items()
                if (policy := handler.options.invocation_retry_policy) is None
                or policy.max_attempts is None
            },
        )
    try:
        yield
    finally:
        for service in services:
            service.configure(HandlerOptions())
