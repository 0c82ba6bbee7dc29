"""howdah: durable execution, carried by Postgres.

Write ordinary async handlers; howdah records every step, call, timer and state change in Postgres
before the next one begins, and after a crash goes on exactly where they stood.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from howdah.context import (
    Context,
    DurablePromise,
    ObjectContext,
    ObjectSharedContext,
    Request,
    WorkflowContext,
    WorkflowSharedContext,
)
from howdah.errors import Cancelled, HowdahError, NonDeterminism, RetryableError, TerminalError
from howdah.futures import (
    DurableCallFuture,
    DurableFuture,
    SendHandle,
    as_completed,
    gather,
    select,
    wait_completed,
)
from howdah.handler import Handler, handler_of
from howdah.retry import InvocationRetryPolicy, RunOptions
from howdah.serde import BytesSerde, DefaultSerde, JsonSerde, PydanticJsonSerde, Serde
from howdah.service import Service, VirtualObject, Workflow

if TYPE_CHECKING:
    from howdah.client import Client, ClientSendHandle, SyncClient, create_client

__all__ = [
    "BytesSerde",
    "Cancelled",
    "Client",
    "ClientSendHandle",
    "Context",
    "DefaultSerde",
    "DurableCallFuture",
    "DurableFuture",
    "DurablePromise",
    "Handler",
    "HowdahError",
    "InvocationRetryPolicy",
    "JsonSerde",
    "NonDeterminism",
    "ObjectContext",
    "ObjectSharedContext",
    "PydanticJsonSerde",
    "Request",
    "RetryableError",
    "RunOptions",
    "SendHandle",
    "Serde",
    "Service",
    "SyncClient",
    "TerminalError",
    "VirtualObject",
    "Workflow",
    "WorkflowContext",
    "WorkflowSharedContext",
    "as_completed",
    "create_client",
    "gather",
    "handler_of",
    "select",
    "wait_completed",
]

_OF_CLIENTS = ("Client", "ClientSendHandle", "SyncClient", "create_client")


def __getattr__(name: str) -> Any:
    """Import the clients when they are asked for: httpx takes as long as all the rest."""
    if name in _OF_CLIENTS:
        from howdah import client

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
