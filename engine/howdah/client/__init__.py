"""Clients of the ingress, for programs that are not handlers.

`Client` is for asyncio, `SyncClient` blocks; their verbs are the same. What a verb sends is built in
`exchanges.py` and checked in `texts.py`, what comes back is read in `answers.py`, and `delivery.py`
decides what is tried again. These do no I/O; `asynchronous.py` and `blocking.py` add it, with httpx
as `wire.py` sets it up. Nothing here knows the database or the engine.
"""

from howdah.client.answers import ClientSendHandle
from howdah.client.asynchronous import Client, create_client
from howdah.client.blocking import SyncClient
from howdah.client.exchanges import CallOptions, SendOptions

__all__ = [
    "CallOptions",
    "Client",
    "ClientSendHandle",
    "SendOptions",
    "SyncClient",
    "create_client",
]
