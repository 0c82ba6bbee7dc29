"""howdah: durable execution, carried by Postgres.

Write ordinary async handlers; howdah records every step, call, timer and state change in Postgres
before the next one begins, and after a crash goes on exactly where they stood.
"""

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

__all__ = [
    "BytesSerde",
    "Cancelled",
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
    "TerminalError",
    "VirtualObject",
    "Workflow",
    "WorkflowContext",
    "WorkflowSharedContext",
    "as_completed",
    "gather",
    "handler_of",
    "select",
    "wait_completed",
]
