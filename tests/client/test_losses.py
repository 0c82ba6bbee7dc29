"""What a client does when the connection or the server fails: errors, repetition, timeouts."""

import asyncio
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from client import program
from howdah.client import Client, SyncClient
from howdah.errors import HowdahError, NoAnswer, RequestRefused, UnexpectedAnswer, UsageError
from support.servers import HowdahProcess, Servers

Act = Callable[[httpx.Request], None]


def httpx_errors() -> list[type[httpx.HTTPError]]:
    """Every error that a request may end with in httpx."""
    found: list[type[httpx.HTTPError]] = [httpx.RequestError]
    for kind in found:
        found += kind.__subclasses__()
    return found


class Async(httpx.AsyncHTTPTransport):
    """A transport on which something is done after each answer was received."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        self._act = act

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await super().handle_async_request(request)
        await response.aread()
        self._act(request)
        return response


class Blocking(httpx.HTTPTransport):
    """As `Async`."""

    def __init__(self, act: Act) -> None:
        super().__init__()
        self._act = act

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        response = super().handle_request(request)
        response.read()
        self._act(request)
        return response


@pytest.fixture
def make_client_with(make_client: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a client of either kind whose answers go through `act`, which may raise."""

    def make(base_url: str, act: Act, **options: Any) -> Any:
        is_async = isinstance(make_client(base_url), Client)
        transport = Async(act) if is_async else Blocking(act)
        return make_client(base_url, transport=transport, **options)

    return make


@pytest.fixture
def make_client_answering(make_client: Callable[..., Any]) -> Callable[..., Any]:
    """Makes a client of either kind that gets the given answers, one after the other."""

    def make(*answers: httpx.Response, **options: Any) -> Any:
        left = list(answers)
        return make_client(transport=httpx.MockTransport(lambda _: left.pop(0)), **options)

    return make


def losing(count: int, error: type[httpx.TransportError] = httpx.ReadError) -> Act:
    """Lose the first answers, after the server has given them."""
    left = [error("the connection broke")] * count

    def act(_: httpx.Request) -> None:
        if left:
            raise left.pop()

    return act


def free_port() -> int:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        return port


async def test_a_server_that_is_away_got_nothing(make_client: Any) -> None:
    client = make_client(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(NoAnswer, match="Nothing was sent") as away:
        await client.service_call(program.double, 1)
    assert not away.value.may_have_been_accepted
    assert not away.value.is_timeout
    assert away.value.tries == 1
    assert isinstance(away.value.__cause__, httpx.ConnectError)


async def test_a_lost_answer_is_not_asked_for_again_without_an_idempotency_key(
    make_client_with: Any, server: HowdahProcess, client: Any
) -> None:
    key = str(uuid4())
    losing_client = make_client_with(server.ingress, losing(1))
    with pytest.raises(NoAnswer, match="Give it an idempotency key") as lost:
        await losing_client.object_call(program.add, key, 2)
    assert lost.value.may_have_been_accepted
    assert lost.value.tries == 1
    assert await client.object_call(program.total, key) == 2


async def test_a_lost_answer_is_repaired_with_an_idempotency_key(
    make_client_with: Any, server: HowdahProcess, client: Any
) -> None:
    key, once = str(uuid4()), str(uuid4())
    losing_client = make_client_with(server.ingress, losing(2))
    assert await losing_client.object_call(program.add, key, 2, idempotency_key=once) == 2
    assert await client.object_call(program.total, key) == 2
    as_header = {"Idempotency-Key": str(uuid4())}
    losing_client = make_client_with(server.ingress, losing(1))
    sent = await losing_client.object_send(program.add, key, 3, headers=as_header)
    assert not sent.is_new
    assert await client.attach(sent, program.add) == 5


async def test_asking_is_repeated_and_health_is_not(
    make_client_with: Any, server: HowdahProcess, client: Any
) -> None:
    sent = await client.service_send(program.double, 4)
    assert await make_client_with(server.ingress, losing(1)).attach(sent) == 8
    assert await make_client_with(server.ingress, losing(1)).output(sent) == 8
    with pytest.raises(NoAnswer):
        await make_client_with(server.ingress, losing(1)).health()


async def test_repetition_has_a_bound(make_client_with: Any, server: HowdahProcess) -> None:
    losing_client = make_client_with(server.ingress, losing(9), retries=2)
    with pytest.raises(NoAnswer, match="in 3 tries") as lost:
        await losing_client.service_call(program.double, 1, idempotency_key=str(uuid4()))
    assert lost.value.tries == 3
    assert lost.value.may_have_been_accepted
    losing_client = make_client_with(server.ingress, losing(1), retries=0)
    with pytest.raises(NoAnswer):
        await losing_client.service_call(program.double, 1, idempotency_key=str(uuid4()))


async def test_a_timeout_ends_the_wait_and_not_the_invocation(client: Any) -> None:
    once = str(uuid4())
    with pytest.raises(NoAnswer, match="no answer in time") as late:
        await client.service_call(
            program.rest, 1.5, idempotency_key=once, timeout=timedelta(milliseconds=200)
        )
    assert late.value.is_timeout
    assert late.value.may_have_been_accepted
    assert await client.idempotent_attach(program.rest, once) == "rested"


async def test_the_clients_timeout_is_for_what_waits(
    make_client: Any, server: HowdahProcess
) -> None:
    impatient = make_client(server.ingress, timeout=timedelta(milliseconds=200))
    sent = await impatient.service_send(program.rest, 1.0)
    with pytest.raises(NoAnswer, match="Ask again") as late:
        await impatient.attach(sent)
    assert not late.value.may_have_been_accepted
    assert await impatient.attach(sent, timeout=None) == "rested"


async def test_a_call_outlives_a_restart_of_the_server(
    dsn: str, servers: Servers, make_client: Any
) -> None:
    address = f"127.0.0.1:{free_port()}"
    first = servers.serve(dsn, str(program.__file__), HOWDAH_INGRESS=address, HOWDAH_LEASE="2s")
    first.wait_until_said("Try next")
    client = make_client(f"http://{address}", retries=60)
    key = str(uuid4())

    calls = [
        asyncio.ensure_future(
            client.object_call(program.rest_and_add, key, 1, idempotency_key=f"call {n}")
        )
        for n in range(2)
    ]
    while (await client.object_call(program.begun, key)) != 1:
        await asyncio.sleep(0.02)
    first.process.kill()
    first.process.wait(10)
    servers.serve(dsn, str(program.__file__), HOWDAH_INGRESS=address, HOWDAH_LEASE="2s")

    assert sorted(await asyncio.gather(*calls)) == [1, 2]


async def test_a_server_that_asks_for_patience_gets_it(make_client_answering: Any) -> None:
    refusal = {"code": 503, "message": "the server is stopping", "source": "ingress"}
    busy = httpx.Response(503, json=refusal, headers={"retry-after": "0"})
    done = httpx.Response(200, content=b"2")
    client = make_client_answering(busy, busy, done)
    assert await client.service_call(program.double, 1, idempotency_key="a") == 2

    with pytest.raises(RequestRefused, match="server is stopping") as refused:
        await make_client_answering(busy, done).service_call(program.double, 1)
    assert refused.value.retry_after == timedelta(0)
    assert refused.value.may_have_been_accepted


async def test_an_answer_of_something_else_is_told_apart(make_client_answering: Any) -> None:
    strangers = [
        httpx.Response(502, text="<h1>Bad gateway</h1>"),
        httpx.Response(301, headers={"location": "http://example.test/"}),
        httpx.Response(202, json={"status": "fine"}),
        httpx.Response(404, json={"detail": "Not Found"}),
        httpx.Response(204),
    ]
    for stranger in strangers:
        client = make_client_answering(stranger)
        with pytest.raises(UnexpectedAnswer, match="not howdah's") as unexpected:
            await client.service_send(program.double, 1)
        assert unexpected.value.status_code == stranger.status_code
        assert unexpected.value.may_have_been_accepted
    with pytest.raises(UnexpectedAnswer):
        await make_client_answering(httpx.Response(200, text="fine")).health()


@pytest.mark.parametrize("kind", httpx_errors(), ids=lambda kind: kind.__name__)
async def test_no_error_of_httpx_comes_through(
    make_client: Any, kind: type[httpx.HTTPError]
) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise kind("said so")

    client = make_client(transport=httpx.MockTransport(fail))
    with pytest.raises(HowdahError, match=r"said so|in time"):
        await client.service_call(program.double, 1)


@pytest.mark.parametrize(
    "address", ["", "ftp://host", "http://", "http://host:0", "http://host:x", "http://h/?a=b"]
)
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(UsageError, match="base_url"):
        Client(address)


def test_without_an_address_it_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOWDAH_INGRESS", raising=False)
    assert SyncClient().base_url == "http://127.0.0.1:8080"
    monkeypatch.setenv("HOWDAH_INGRESS", "[::1]:80")
    assert SyncClient().base_url == "http://[::1]:80"
    assert SyncClient("https://shop.test/below/").base_url == "https://shop.test/below"


def test_arguments_out_of_bounds_are_refused() -> None:
    with pytest.raises(UsageError, match="retries"):
        SyncClient(retries=101)
    with pytest.raises(UsageError, match="timeout"):
        SyncClient(timeout=timedelta(0))
    with pytest.raises(UsageError, match="one of the two"):
        SyncClient(transport=httpx.HTTPTransport(), http_client=httpx.Client())


async def test_a_given_httpx_client_is_used_and_left_open(server: HowdahProcess) -> None:
    async with httpx.AsyncClient(headers={"x-given": "yes"}) as given:
        async with Client(server.ingress, http_client=given) as client:
            assert (await client.service_call(program.headers))["x-given"] == "yes"
        assert not given.is_closed
