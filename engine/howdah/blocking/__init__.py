"""What sync handlers import: the contexts and futures of `howdah`, whose verbs block.

A handler written as `def` runs in a thread. Its verbs return values; what is to happen at the same
time is begun with `ctx.begin` and gathered. Everything else is as for async handlers.
"""

from howdah.blocking.context import (
    Begin,
    Context,
    DurablePromise,
    ObjectBegin,
    ObjectContext,
    ObjectSharedContext,
    WorkflowBegin,
    WorkflowContext,
    WorkflowSharedContext,
)
from howdah.blocking.futures import (
    DurableCallFuture,
    DurableFuture,
    SendHandle,
    as_completed,
    gather,
    select,
    wait_completed,
)

__all__ = [
    "Begin",
    "Context",
    "DurableCallFuture",
    "DurableFuture",
    "DurablePromise",
    "ObjectBegin",
    "ObjectContext",
    "ObjectSharedContext",
    "SendHandle",
    "WorkflowBegin",
    "WorkflowContext",
    "WorkflowSharedContext",
    "as_completed",
    "gather",
    "select",
    "wait_completed",
]
