"""The Python SDK for Restate, version 1.3, on howdah: `import howdah.restate as restate`.

A program that was written for the SDK runs in howdah's worker when its import says this; its
submodules (`restate.serde`, `restate.exceptions`, `restate.context` and others) are here, too. What
differs is listed in docs/restate.md.
"""

from howdah.restate import logging
from howdah.restate.asyncio import as_completed, gather, select, wait_completed
from howdah.restate.client import create_client
from howdah.restate.client_types import HttpError, RestateClient, RestateClientSendHandle
from howdah.restate.context import (
    Context,
    DurablePromise,
    KeyValueStore,
    ObjectContext,
    ObjectSharedContext,
    Request,
    RestateDurableCallFuture,
    RestateDurableFuture,
    RestateDurableSleepFuture,
    RunOptions,
    ScopedContext,
    SendHandle,
    WorkflowContext,
    WorkflowSharedContext,
)
from howdah.restate.endpoint import app
from howdah.restate.entry_codec import JournalValueCodec, JournalValueCodecProvider
from howdah.restate.exceptions import (
    RetryableError,
    SdkInternalBaseException,
    TerminalError,
    is_internal_exception,
)
from howdah.restate.harness import create_test_harness
from howdah.restate.logging import RestateLoggingFilter, getLogger
from howdah.restate.object import VirtualObject
from howdah.restate.retry_policy import InvocationRetryPolicy
from howdah.restate.serde import (
    BytesSerde,
    DefaultSerde,
    JsonSerde,
    MsgspecJsonSerde,
    PydanticJsonSerde,
    Serde,
)
from howdah.restate.service import Service
from howdah.restate.types import HarnessEnvironment
from howdah.restate.workflow import Workflow

__all__ = [
    "BytesSerde",
    "Context",
    "DefaultSerde",
    "DurablePromise",
    "HarnessEnvironment",
    "HttpError",
    "InvocationRetryPolicy",
    "JournalValueCodec",
    "JournalValueCodecProvider",
    "JsonSerde",
    "KeyValueStore",
    "MsgspecJsonSerde",
    "ObjectContext",
    "ObjectSharedContext",
    "PydanticJsonSerde",
    "Request",
    "RestateClient",
    "RestateClientSendHandle",
    "RestateDurableCallFuture",
    "RestateDurableFuture",
    "RestateDurableSleepFuture",
    "RestateLoggingFilter",
    "RetryableError",
    "RunOptions",
    "ScopedContext",
    "SdkInternalBaseException",
    "SendHandle",
    "Serde",
    "Service",
    "TerminalError",
    "VirtualObject",
    "Workflow",
    "WorkflowContext",
    "WorkflowSharedContext",
    "app",
    "as_completed",
    "create_client",
    "create_test_harness",
    "gather",
    "getLogger",
    "is_internal_exception",
    "logging",
    "select",
    "wait_completed",
]
