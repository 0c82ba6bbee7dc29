"""What arrives while an endpoint is asked to suspend: it could not be told, and hears it next time."""

import asyncio
import json
from datetime import timedelta
from typing import Any, Final, TypeAlias

import asyncpg

from howdah.options import Options
from howdah.remote.connecting import Connector
from howdah.remote.deployments import RemoteDeployments
from howdah.remote.registering import Registrar, Registration
from howdah.remote.wire import CLASSES, Decoder, Type, encode
from support.endpoints import Peer, serving
from support.engines import assert_healthy, running_engine, send, until_true
from support.holding import held

Database: TypeAlias = "asyncpg.Connection[Any]"

MEDIA_TYPE: Final = "application/vnd.restate.invocation.v6"
MANIFEST: Final = {
    "protocolMode": "BIDI_STREAM",
    "minProtocolVersion": 5,
    "maxProtocolVersion": 6,
    "services": [
        {"name": "Listener", "ty": "SERVICE", "handlers": [{"name": "hears_two_words"}]},
    ],
}
SIGNAL: Final = "select howdah.signal($1, 'word', $2)"
OPTIONS: Final[dict[str, Any]] = {
    "endpoint_allow": ("127.0.0.1",),
    "inactivity_timeout": timedelta(minutes=5),  # it suspends when the test says so
}


class Listener(Peer):
    """Waits for two signals of one name, and suspends until there are as many."""

    def on_request(self, stream_id: int) -> None:
        if self.requests[stream_id][":path"] == "/discover":
            self.answer(stream_id, content_type="application/vnd.restate.endpointmanifest.v4+json")
            self.h2.send_data(stream_id, json.dumps(MANIFEST).encode(), end_stream=True)
        else:
            self.answer(stream_id, content_type=MEDIA_TYPE)

    def heard(self, stream_id: int) -> list[bytes]:
        messages = Decoder(1 << 20).feed(bytes(self.bodies[stream_id]))
        return [payload for number, _, payload in messages if number == Type.SIGNAL]

    def on_body(self, stream_id: int, data: bytes) -> None:
        if len(self.heard(stream_id)) == 2:
            output = CLASSES["Output"]()
            output.value.content = b'"both"'
            last = encode(Type.OUTPUT, output) + encode(Type.END, CLASSES["End"]())
            self.h2.send_data(stream_id, last, end_stream=True)

    def on_request_end(self, stream_id: int) -> None:
        path = self.requests[stream_id][":path"]
        if path != "/discover" and len(self.heard(stream_id)) < 2:
            suspension = CLASSES["Suspension"](waiting_named_signals=["word"])
            self.h2.send_data(stream_id, encode(Type.SUSPENSION, suspension), end_stream=True)


async def test_a_second_signal_of_a_name_that_an_endpoint_was_not_told_of_is_not_slept_through(
    dsn: str, db: Database
) -> None:
    """It is on its way to the disk, after the first, when the endpoint is asked to suspend."""
    connector = Connector(Options(**OPTIONS))
    watched: list[Any] = []

    def ask_to_suspend(_statement: str) -> None:
        for attempt in watched:
            if attempt.uncommitted == 1:
                attempt.yield_soon()

    remote = RemoteDeployments(connector.connect_deployment)
    async with (
        serving(Listener) as server,
        running_engine(dsn, [], ask_to_suspend, remote=remote, **OPTIONS) as engine,
    ):
        registrar = Registrar(engine.database, connector, engine.options)
        await registrar.register(Registration(uri=server.uri))
        await until_true(lambda: engine.registry.service("Listener"))
        await until_true(lambda: engine.served)
        sent = await send(engine, "Listener/hears_two_words")
        await until_true(lambda: sent.id in engine.residents)
        attempt = engine.residents[sent.id]
        async with held(dsn, db, "insert on howdah_core.journal", "new.kind = 150") as hold:
            await db.execute(SIGNAL, sent.id, '"first"')
            await hold.reached()
            await db.execute(SIGNAL, sent.id, '"second"')
            await until_true(lambda: attempt.uncommitted == 2)
            watched.append(attempt)
        outcome = await asyncio.wait_for(engine.attach(sent.id), 20)

    assert outcome.value == b'"both"'
    assert await db.fetchval("select attempts from howdah.invocations") == 2
    await assert_healthy(db)
