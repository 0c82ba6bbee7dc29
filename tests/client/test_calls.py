"""Calls, sends, attach and output, over real HTTP, with both clients."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from client import program
from howdah import Context, Service
from howdah.client import ClientSendHandle, SyncClient, create_client
from howdah.errors import (
    InvocationFailed,
    RequestRefused,
    SerdeError,
    UsageError,
    WrongContext,
)
from howdah.ids import parse_id
from support.servers import HowdahProcess

UNKNOWN_ID = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"

absent = Service("Absent")


@absent.handler()
async def anything(ctx: Context) -> None: ...


def new_key() -> str:
    return str(uuid4())


async def test_a_call_returns_the_result_as_its_type(client: Any) -> None:
    assert await client.service_call(program.double, 21) == 42
    assert await client.service_call(program.buy, program.Order("2b")) == program.Order("2B", 101)
    assert await client.service_call(program.raw, b"\x00\xff") == b"\xff\x00"
    assert await client.service_call(program.nothing) is None


async def test_an_argument_may_be_absent_where_the_handler_says_so(client: Any) -> None:
    assert await client.service_call(program.describe, None) == "nothing"
    assert await client.service_call(program.describe, program.Order("2b")) == "2b"
    assert await client.service_call(program.count) == 7
    assert await client.service_call(program.count, 8) == 8


@pytest.mark.parametrize("key", ["ann", "a/b", "a%2Fb", "ü ☃", ".", "..", "?a=b#c", "x" * 1024])
async def test_a_key_arrives_as_it_is(client: Any, key: str) -> None:
    assert await client.object_call(program.own_key, key) == key


async def test_an_object_is_called_and_read(client: Any) -> None:
    key = new_key()
    assert await client.object_call(program.add, key, 2) == 2
    assert await client.object_call(program.add, key=key, arg=3) == 5
    assert await client.object_call(program.total, key) == 5


async def test_headers_of_client_and_call_reach_the_handler(client: Any) -> None:
    seen = await client.service_call(program.headers, headers={"X-Row": "7"})
    assert (seen["x-shop"], seen["x-row"]) == ("west", "7")
    assert "content-type" not in seen
    assert seen["user-agent"].startswith("howdah/")


async def test_a_content_type_of_ones_own_is_sent(client: Any) -> None:
    sent = {"content-type": "image/gif"}
    assert await client.service_call(program.picture, b"GIF", headers=sent) == b"image/gif"


async def test_one_idempotency_key_is_one_invocation(client: Any) -> None:
    key, once = new_key(), new_key()
    assert await client.object_call(program.add, key, 2, idempotency_key=once) == 2
    assert await client.object_call(program.add, key, 2, idempotency_key=once) == 2
    assert await client.object_call(program.total, key) == 2


async def test_a_send_tells_its_invocation_and_whether_it_is_new(client: Any) -> None:
    once = new_key()
    first = await client.service_send(program.double, 4, idempotency_key=once)
    again = await client.service_send(program.double, 4, idempotency_key=once)
    assert str(parse_id(first.invocation_id)) == first.invocation_id
    assert (first.status, first.is_new, first.status_code) == ("Accepted", True, 202)
    assert (again.status, again.is_new) == ("PreviouslyAccepted", False)
    assert again.invocation_id == first.invocation_id
    assert await client.attach(again) == 8


async def test_a_delayed_send_tells_when_it_starts(client: Any) -> None:
    delay = timedelta(hours=1, milliseconds=1)
    sent = await client.object_send(program.add, new_key(), 1, send_delay=delay)
    assert abs(sent.execution_time - datetime.now(UTC) - delay) < timedelta(seconds=30)
    assert await client.output(sent) is None


async def test_a_short_delay_passes(client: Any) -> None:
    sent = await client.service_send(program.double, 1, send_delay=timedelta(milliseconds=1))
    assert await client.attach(sent) == 2
    sent = await client.service_send(program.double, 2, send_delay=timedelta(0))
    assert sent.execution_time is None
    assert await client.attach(sent) == 4


async def test_output_is_none_until_the_result_is_there(client: Any, tmp_path: Path) -> None:
    sent = await client.service_send(program.wait_for_file, str(tmp_path / "file"))
    assert await client.output(sent) is None
    (tmp_path / "file").touch()
    assert await client.attach(sent) == "found"
    assert await client.output(sent) == "found"


async def test_an_id_is_read_by_its_handler_or_its_type(client: Any) -> None:
    sent = await client.service_send(program.buy, program.Order("2b"))
    id_text = sent.invocation_id
    bought = program.Order("2B", 101)
    assert await client.attach(id_text, program.buy) == bought
    assert await client.attach(id_text, type_hint=program.Order) == bought
    assert await client.output(id_text, program.buy) == bought
    assert await client.output(id_text, type_hint=dict[str, Any]) == vars(bought)
    assert await client.attach(id_text) == b'{"seat":"2B","price_cents":101}'
    assert await client.output(ClientSendHandle(id_text)) == b'{"seat":"2B","price_cents":101}'


async def test_a_result_of_another_type_is_a_serde_error(client: Any) -> None:
    sent = await client.service_send(program.rest, 0)
    with pytest.raises(SerdeError, match="int"):
        await client.attach(sent, program.double)


async def test_an_invocation_is_found_by_its_idempotency_key(client: Any, tmp_path: Path) -> None:
    once = f'{new_key()} / "%2F"'
    await client.service_send(program.wait_for_file, str(tmp_path / "file"), idempotency_key=once)
    assert await client.idempotent_output(program.wait_for_file, once) is None
    (tmp_path / "file").touch()
    assert await client.idempotent_attach(program.wait_for_file, once) == "found"
    assert await client.idempotent_output(program.wait_for_file, once) == "found"

    key = new_key()
    await client.object_send(program.add, key, 3, idempotency_key=once)
    assert await client.idempotent_attach(program.add, once, key=key) == 3


async def test_a_service_is_called_in_a_scope(client: Any) -> None:
    once = new_key()
    assert await client.service_call(program.double, 2, scope="shop", limit_key="joe/x") == 4
    sent = [
        await client.service_send(program.double, number, idempotency_key=once, scope=scope)
        for number, scope in [(1, "shop"), (2, "shop"), (3, "depot"), (4, None)]
    ]
    assert sent[0].invocation_id == sent[1].invocation_id
    assert len({handle.invocation_id for handle in sent}) == 3
    assert await client.idempotent_attach(program.double, once, scope="shop") == 2
    assert await client.idempotent_attach(program.double, once, scope="depot") == 6
    assert await client.idempotent_output(program.double, once) in (None, 8)


async def test_bytes_are_called_and_sent_by_name(client: Any) -> None:
    assert await client.generic_call("Shop", "double", b"21") == b"42"
    assert await client.generic_call("Shop", "nothing") == b""
    key, octets = new_key(), "application/octet-stream"
    assert await client.generic_call("Counter", "add", b"1", key=key) == b"1"
    assert await client.generic_call("Shop", "raw", b"\xff", content_type=octets) == b"\xff"
    sent = await client.generic_send("Counter", "add", b"1", key=key, idempotency_key="x")
    assert await client.attach(sent) == b"2"


@pytest.mark.parametrize("code", [409, 470, 500, 503])
async def test_a_failed_invocation_raises_what_its_handler_said(client: Any, code: int) -> None:
    once = new_key()
    with pytest.raises(InvocationFailed) as failed:
        await client.service_call(program.fail, code, idempotency_key=once)
    error = failed.value
    assert (error.message, error.status_code, error.metadata) == (
        "out of seats",
        code,
        {"row": "7"},
    )
    assert error.source == "invocation"
    assert error.invocation_id is not None
    assert str(error) == (
        f"HD5001: Invocation {error.invocation_id} failed with status {code}: out of seats"
    )
    for asked in (
        client.attach(error.invocation_id, program.fail),
        client.output(error.invocation_id, program.fail),
        client.idempotent_attach(program.fail, once),
    ):
        with pytest.raises(InvocationFailed, match="out of seats"):
            await asked


async def test_a_failure_not_found_differs_from_an_unknown_invocation(client: Any) -> None:
    with pytest.raises(InvocationFailed) as failed:
        await client.service_call(program.fail, 404)
    assert failed.value.invocation_id is not None
    with pytest.raises(InvocationFailed):
        await client.attach(failed.value.invocation_id)
    for asked in (
        client.attach(UNKNOWN_ID),
        client.output(UNKNOWN_ID),
        client.idempotent_attach(program.double, new_key()),
        client.idempotent_output(program.double, new_key()),
    ):
        with pytest.raises(RequestRefused) as refused:
            await asked
        assert refused.value.status_code == 404
        assert not refused.value.may_have_been_accepted


async def test_a_refused_request_says_so_in_the_servers_words(client: Any) -> None:
    with pytest.raises(
        RequestRefused, match=r"Absent/anything was refused .* not found"
    ) as refused:
        await client.service_call(anything)
    assert (refused.value.status_code, refused.value.source) == (404, "ingress")
    assert not refused.value.may_have_been_accepted
    with pytest.raises(RequestRefused, match="not public") as refused:
        await client.service_send(program.secret)
    assert refused.value.status_code == 400
    with pytest.raises(RequestRefused, match="length limit") as refused:
        await client.service_call(program.raw, bytes(2**20 + 1))
    assert refused.value.status_code == 413


async def test_a_misuse_is_found_before_anything_is_sent(client: Any) -> None:
    with pytest.raises(WrongContext, match="Use object_call or object_send"):
        await client.service_call(program.add, 1)
    with pytest.raises(WrongContext, match="Use service_call or service_send"):
        await client.object_send(program.double, "ann", 1)
    with pytest.raises(WrongContext, match="not the main handler of a workflow"):
        await client.workflow_attach(program.add, "ann")
    for wrong in (
        client.service_call(program.nothing, 1),
        client.service_call(print),
        client.service_call(program.double, object()),
        client.service_call(program.double, 1, idempotency_key=""),
        client.service_call(program.double, 1, idempotency_key=" a"),
        client.service_call(program.double, 1, idempotency_key="ü"),
        client.service_call(program.double, 1, headers={"a b": "c"}),
        client.service_call(program.double, 1, headers={"a": "b\r\nc: d"}),
        client.service_call(program.double, 1, timeout=timedelta(0)),
        client.service_send(program.double, 1, send_delay=timedelta(seconds=-1)),
        client.object_call(program.total, ""),
        client.object_call(program.total, 7),
        client.object_call(program.total, "\ud800"),
        client.object_call(program.total, "a\0b"),
        client.object_call(program.total, "x" * 1025),
        client.service_call(program.double, 1, scope="a b"),
        client.service_call(program.double, 1, scope=""),
        client.service_call(program.double, 1, scope="a", limit_key="b//c"),
        client.service_call(program.double, 1, limit_key="b"),
        client.object_call(program.total, "ann", scope="a"),
        client.idempotent_attach(program.add, "monday"),
        client.idempotent_attach(program.double, "monday", "ann"),
        client.attach(UNKNOWN_ID, program.double, int),
    ):
        with pytest.raises(UsageError):
            await wrong


async def test_the_value_of_a_header_is_not_shown(client: Any) -> None:
    with pytest.raises(UsageError) as error:
        await client.service_call(program.double, 1, headers={"authorization": "secret\n"})
    assert "authorization" in str(error.value)
    assert "secret" not in str(error.value)


async def test_health_names_the_services(client: Any) -> None:
    assert await client.health() == ["Counter", "Hidden", "Shop"]


async def test_a_closed_client_says_so(make_client: Any, server: HowdahProcess) -> None:
    made = make_client(server.ingress)
    await made.health()
    await made.close()
    with pytest.raises(WrongContext, match="closed"):
        await made.health()


async def test_clients_close_themselves_after_a_block(server: HowdahProcess) -> None:
    async with create_client(server.ingress, {"x-row": "8"}) as made:
        assert (await made.service_call(program.headers))["x-row"] == "8"
    with pytest.raises(WrongContext):
        await made.health()
    with SyncClient(server.ingress) as blocking:
        assert blocking.service_call(program.double, 1) == 2
    with pytest.raises(WrongContext):
        blocking.health()
