"""The SDK's client against a real server: results, handles, errors, and what is refused."""

import json
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

import howdah.restate as restate
from compat.programs import counter, greeter, signup
from howdah.errors import NoAnswer, UsageError
from support.servers import Servers

PROGRAMS = Path(__file__).parent / "programs"


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    started = Servers(tmp_path)
    yield started
    started.end()


@pytest.fixture
async def client(dsn: str, servers: Servers) -> AsyncIterator[restate.RestateClient]:
    files = [str(PROGRAMS / f"{name}.py") for name in ("greeter", "counter", "signup")]
    server = servers.serve(dsn, *files)
    async with restate.create_client(server.ingress, headers={"x-who": "a client"}) as made:
        yield made


async def test_calls_return_what_handlers_return(client: restate.RestateClient) -> None:
    request = greeter.GreetingRequest(name="Ann")
    greeting = await client.service_call(greeter.greet, arg=request)
    identity = await client.service_call(greeter.identity, arg=None, idempotency_key="one")
    count = await client.object_call(counter.increment, key="a", arg=5)
    raw = await client.generic_call("counter", "increment", b"2", key="a")

    assert isinstance(greeting, greeter.Greeting)
    assert greeting.message == "Hello Ann!"
    assert (identity["header"], identity["key"]) == ("a client", "one")
    assert (count, raw) == (5, b"7")


async def test_calls_in_a_scope(client: restate.RestateClient) -> None:
    scope = client.scope("tenant")
    told = await scope.service_call(greeter.identity, arg=None, limit_key="joe")
    sent = await scope.service_send(greeter.shout, arg=b"x", idempotency_key="once")
    again = await scope.service_send(greeter.shout, arg=b"x", idempotency_key="once")
    other = await client.service_send(greeter.shout, arg=b"x", idempotency_key="once")
    named = await client.generic_call("Greeter", "identity", b"", scope="s", limit_key="a/b")

    assert (told["scope"], told["limit_key"]) == ("tenant", "joe")
    assert sent.invocation_id == again.invocation_id != other.invocation_id
    assert (json.loads(named)["scope"], json.loads(named)["limit_key"]) == ("s", "a/b")


async def test_sends_return_handles(client: restate.RestateClient) -> None:
    first = await client.object_send(counter.increment, key="b", arg=1, idempotency_key="once")
    again = await client.object_send(counter.increment, key="b", arg=1, idempotency_key="once")
    later = await client.generic_send(
        "counter", "increment", b"1", key="b", send_delay=timedelta(hours=1)
    )
    user = signup.User(name="Ann", email="a@example.org", patience_seconds=0)
    run = await client.workflow_send(signup.run, key="ann", arg=user)
    sent = await client.service_send(greeter.shout, arg=b"x")

    assert first.invocation_id == again.invocation_id
    assert len({handle.invocation_id for handle in (first, later, run, sent)}) == 4
    assert all(200 <= handle.status_code < 300 for handle in (first, again, later, run, sent))


async def test_failures_are_http_errors(client: restate.RestateClient) -> None:
    with pytest.raises(restate.HttpError, match="HTTP 403: Forbidden") as failed:
        await client.service_call(greeter.refuses, arg="Ann")
    body = json.loads(failed.value.body or "")
    assert (body["message"], body["metadata"]) == ("no greeting for Ann", {"name": "Ann"})

    with pytest.raises(restate.HttpError) as refused:
        await client.generic_call("Nobody", "nothing", b"")
    assert refused.value.status_code == 404

    user = signup.User(name="Bob", email="b@example.org", patience_seconds=0)
    with pytest.raises(restate.HttpError) as timed_out:
        await client.workflow_call(signup.run, key="bob", arg=user)
    assert timed_out.value.status_code == 410


async def test_what_howdah_does_not_have_is_refused() -> None:
    class Codec(restate.JournalValueCodec):
        def encode(self, buf: bytes) -> bytes:
            return buf

        async def decode(self, buf: bytes) -> bytes:
            return buf

    with pytest.raises(UsageError, match="journal_value_codec"):
        async with restate.create_client("http://127.0.0.1:1", journal_value_codec=Codec()):
            pass
    async with restate.create_client("http://127.0.0.1:1") as client:
        scope = client.scope("tenant")
        user = signup.User(name="Ann", email="a@example.org", patience_seconds=0)
        for refused in (
            scope.object_call(counter.increment, "k", 1),
            scope.object_send(counter.increment, "k", 1),
            scope.workflow_call(signup.run, "k", user),
            scope.workflow_send(signup.run, "k", user),
        ):
            with pytest.raises(UsageError, match="in a scope is not supported"):
                await refused
        with pytest.raises(UsageError, match="scope is"):
            client.scope("no scope")
        with pytest.raises(NoAnswer):
            await client.service_call(greeter.shout, arg=b"x")
