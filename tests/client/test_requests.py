"""What is sent for workflows and awakeables, and how the answers that the ingress gives are read."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from howdah import Context, ObjectContext, Workflow
from howdah.errors import InvocationFailed, RequestRefused, WrongContext
from howdah.serde import BytesSerde

trip = Workflow("Trip")
RAN = {"code": 409, "message": "the workflow method was already invoked", "source": "invocation"}
NOT_READY = {"code": 470, "message": "not completed yet", "source": "ingress"}


@trip.main()
async def book(ctx: ObjectContext, seats: int) -> str:
    return "booked"


@trip.handler()
async def state(ctx: Context) -> str:
    return "booked"


class Server:
    """Answers each request alike, and keeps what it was sent."""

    def __init__(self, status: int, content: bytes = b"", **answer: Any) -> None:
        self._answer = {"status_code": status, "content": content, **answer}
        self.seen: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        answer = {**self._answer}
        if "json" in answer:
            del answer["content"]
        return httpx.Response(**answer)

    @property
    def request(self) -> tuple[str, str, bytes]:
        """The last request: method, path with query, body."""
        last = self.seen[-1]
        return last.method, last.url.raw_path.decode(), last.content


@pytest.fixture
def ask(make_client: Callable[..., Any]) -> Callable[[Server], Any]:
    """Makes a client of a server that is only made up."""
    return lambda server: make_client(transport=httpx.MockTransport(server))


async def test_a_workflow_is_called_sent_to_and_found(ask: Any) -> None:
    server = Server(200, b'"booked"')
    client = ask(server)
    assert await client.workflow_call(book, "a/b", 2) == "booked"
    assert server.request == ("POST", "/restate/call/Trip/a%2Fb/book", b"2")
    assert await client.workflow_call(state, "a/b", idempotency_key="x") == "booked"
    assert server.request == ("POST", "/restate/call/Trip/a%2Fb/state", b"")
    assert await client.workflow_attach(book, "a/b") == "booked"
    assert server.request == ("GET", "/restate/workflow/Trip/a%2Fb/attach", b"")
    assert await client.workflow_output(book, "a/b") == "booked"
    assert server.request == ("GET", "/restate/workflow/Trip/a%2Fb/output", b"")
    assert await client.idempotent_attach(state, "x", "a/b") == "booked"
    assert b'"key":"a/b"' in server.request[2]


async def test_a_run_that_exists_is_no_new_one(ask: Any) -> None:
    sent = {"invocationId": "0192f0c1-2b3c-7d4e-8f50-617283940a1b", "status": "PreviouslyAccepted"}
    assert not (await ask(Server(202, json=sent)).workflow_send(book, "a", 2)).is_new
    with pytest.raises(InvocationFailed, match="already invoked") as failed:
        await ask(Server(409, json=RAN)).workflow_call(book, "a", 2)
    assert failed.value.status_code == 409


async def test_a_run_that_is_not_ready_has_no_output(ask: Any) -> None:
    assert await ask(Server(470, json=NOT_READY)).workflow_output(book, "a") is None
    with pytest.raises(RequestRefused):
        await ask(Server(470, json=NOT_READY)).workflow_attach(book, "a")


async def test_only_the_main_handler_has_the_runs_result(ask: Any) -> None:
    for asked in (
        ask(Server(200)).workflow_attach(state, "a"),
        ask(Server(200)).workflow_output(state, "a"),
    ):
        with pytest.raises(WrongContext, match="not the main handler"):
            await asked


async def test_an_awakeable_is_completed_with_a_value_or_a_message(ask: Any) -> None:
    server = Server(202)
    client = ask(server)
    await client.resolve_awakeable("sign_1abc", {"seat": "2B"})
    assert server.request == ("POST", "/restate/awakeables/sign_1abc/resolve", b'{"seat":"2B"}')
    assert server.seen[-1].headers["content-type"] == "application/json"
    await client.resolve_awakeable("sign_1abc", b"\xff", BytesSerde())
    assert server.request[2] == b"\xff"
    assert server.seen[-1].headers["content-type"] == "application/octet-stream"
    await client.resolve_awakeable("sign_1abc", None)
    assert server.request[2] == b""
    assert "content-type" not in server.seen[-1].headers
    await client.reject_awakeable("sign_1abc", "sold out ☃")
    assert server.request == (
        "POST",
        "/restate/awakeables/sign_1abc/reject",
        "sold out ☃".encode(),
    )


async def test_a_text_that_is_no_awakeables_id_is_refused(ask: Any) -> None:
    refusal = {"code": 400, "message": "bad awakeable id 'x': bad format", "source": "ingress"}
    with pytest.raises(RequestRefused, match="bad awakeable id"):
        await ask(Server(400, json=refusal)).reject_awakeable("x", "no")
