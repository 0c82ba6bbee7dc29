"""Discovery: of endpoints of the official SDK over both versions of HTTP, and of others."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from howdah.remote import discovery
from howdah.remote.discovery import MEDIA_TYPES, DiscoveryError, discover
from howdah.remote.guard import Guard
from howdah.remote.http import Endpoint, Limits
from support.endpoints import Peer, serving, serving_bytes
from support.sdk import serving_app

DEV = Guard(is_dev=True)
MANIFEST: dict[str, Any] = {
    "protocolMode": "BIDI_STREAM",
    "minProtocolVersion": 5,
    "maxProtocolVersion": 7,
    "services": [{"name": "Greeter", "ty": "SERVICE", "handlers": [{"name": "greet"}]}],
}


@asynccontextmanager
async def endpoint(uri: str, **options: Any) -> AsyncIterator[Endpoint]:
    made = Endpoint(uri, guard=DEV, **options)
    try:
        yield made
    finally:
        made.close()
        await asyncio.sleep(0)


def answering(
    body: bytes | None = None, *, content_type: str = MEDIA_TYPES[3], statuses: tuple[int, ...] = ()
) -> type[Peer]:
    """A server that gives these statuses first, and then a manifest."""
    left = list(statuses)

    class Answering(Peer):
        def on_request_end(self, stream_id: int) -> None:
            if left:
                self.answer(stream_id, status=left.pop(0))
            else:
                self.answer(stream_id, content_type=content_type, x_restate_server="test/1")
                data = json.dumps(MANIFEST).encode() if body is None else body
                self.h2.send_data(stream_id, data)
            self.h2.end_stream(stream_id)

    return Answering


async def failure(uri: str, **options: Any) -> DiscoveryError:
    async with endpoint(uri, **options) as made:
        with pytest.raises(DiscoveryError) as caught:
            await discover(made)
    return caught.value


async def test_a_manifest_is_fetched() -> None:
    async with serving(answering()) as server, endpoint(server.uri + "/mount/?a=b") as made:
        found = await discover(made)

        head = server.peers[0].requests[1]
    assert head[":method"] == "GET"
    assert head[":path"] == "/mount/discover?a=b"
    assert head["accept"] == ", ".join(MEDIA_TYPES)
    assert (found.http_version, found.sdk_version) == ("HTTP/2.0", "test/1")
    assert found.manifest.services[0].handlers[0].name == "greet"
    assert json.loads(found.documents[0]) == MANIFEST["services"][0]


async def test_headers_of_the_deployment_are_added() -> None:
    async with (
        serving(answering()) as server,
        endpoint(server.uri, headers={"Authorization": "Bearer x"}) as made,
    ):
        await discover(made)

        assert server.peers[0].requests[1]["authorization"] == "Bearer x"


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
async def test_what_may_pass_is_tried_again(monkeypatch: pytest.MonkeyPatch, status: int) -> None:
    monkeypatch.setattr(discovery, "RETRY_SECONDS", 0.001)
    async with serving(answering(statuses=(status,) * 3)) as server, endpoint(server.uri) as made:
        assert (await discover(made)).sdk_version
        assert len(server.peers[0].requests) == 4


async def test_it_is_tried_four_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "RETRY_SECONDS", 0.001)
    async with serving(answering(statuses=(503,) * 4)) as server:
        error = await failure(server.uri)
        assert len(server.peers[0].requests) == 4

    assert error.code == "META0003"
    assert str(error).startswith("[META0003] ")


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 501])
async def test_other_statuses_fail_at_once(status: int) -> None:
    async with serving(answering(statuses=(status,))) as server:
        error = await failure(server.uri)
        assert len(server.peers[0].requests) == 1

    assert error.code == "META0003"
    assert str(status) in error.message
    assert ("redirects" in error.message) == (status < 400)


async def test_a_closed_port_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "RETRY_SECONDS", 0.001)
    async with serving() as server:
        pass

    assert (await failure(server.uri)).code == "META0003"


async def test_a_place_that_is_not_allowed_is_not_tried_again() -> None:
    made = Endpoint("http://169.254.169.254", guard=DEV)
    with pytest.raises(DiscoveryError, match="no place for an endpoint") as caught:
        await discover(made)

    assert caught.value.code == "META0003"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{}", "META0013"),
        (b"<html>", "META0013"),
        (json.dumps({**MANIFEST, "protocolMode": None}).encode(), "META0013"),
        (json.dumps({**MANIFEST, "maxProtocolVersion": 4}).encode(), "META0012"),
        (json.dumps({**MANIFEST, "minProtocolVersion": 8}).encode(), "META0012"),
        (
            json.dumps({**MANIFEST, "minProtocolVersion": 7, "maxProtocolVersion": 6}).encode(),
            "META0012",
        ),
        (json.dumps(MANIFEST).replace("Greeter", "restateX").encode(), "META0005"),
    ],
)
async def test_a_manifest_that_cannot_be_used_is_refused(body: bytes, code: str) -> None:
    async with serving(answering(body)) as server:
        assert (await failure(server.uri)).code == code


async def test_an_endpoint_that_is_too_new_for_the_option_is_refused_and_told_so() -> None:
    body = json.dumps({**MANIFEST, "minProtocolVersion": 7}).encode()
    async with serving(answering(body)) as server, endpoint(server.uri) as made:
        assert (await discover(made, newest=7)).manifest.min_protocol_version == 7
        with pytest.raises(DiscoveryError, match="HOWDAH_REMOTE_PROTOCOL_MAX") as caught:
            await discover(made, newest=6)

    assert caught.value.code == "META0012"


@pytest.mark.parametrize(
    "content_type",
    ["application/json", MEDIA_TYPES[0].replace("v1", "v5"), MEDIA_TYPES[1] + "; charset=utf-8"],
)
async def test_another_content_type_is_refused(content_type: str) -> None:
    async with serving(answering(content_type=content_type)) as server:
        error = await failure(server.uri)

    assert error.code == "META0013"
    assert content_type in error.message


async def test_a_server_of_http_11_gets_a_hint() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()

    async with serving_bytes(talk) as uri:
        error = await failure(uri)

    assert error.code == "META0014"
    assert "use_http_11" in error.message


async def test_http_10_cannot_talk_both_ways() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(f"HTTP/1.0 200 OK\r\ncontent-type: {MEDIA_TYPES[0]}\r\n\r\n".encode())
        writer.write(json.dumps(MANIFEST).encode())

    async with serving_bytes(talk) as uri:
        assert (await failure(uri, use_http_11=True)).code == "META0015"


async def test_a_manifest_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "MANIFEST_BYTES_MAX", 1000)
    async with serving(answering(b"x" * 5000)) as server:
        error = await failure(server.uri)

    assert error.code == "META0003"
    assert "longer than 1000 bytes" in error.message


async def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(discovery, "TIMEOUT_SECONDS", 0.1)
    async with serving(Peer) as server:
        error = await failure(server.uri, limits=Limits())

    assert error.code == "META0003"
    assert "within 0.1 s" in error.message


# The official SDK.


def sdk_app(*, identity_keys: list[str] | None = None) -> Any:
    restate = pytest.importorskip("restate")
    greeter = restate.Service("Greeter", metadata={"team": "a"})
    counter = restate.VirtualObject("Counter")
    signup = restate.Workflow("Signup")

    async def greet(ctx: Any, name: str) -> str:
        return f"Hello {name}"

    async def add(ctx: Any, amount: int) -> int:
        return amount

    async def look(ctx: Any) -> int:
        return 1

    async def run(ctx: Any) -> None: ...

    greeter.handler()(greet)
    counter.handler()(add)
    counter.handler(kind="shared")(look)
    signup.main()(run)
    return restate.app([greeter, counter, signup], identity_keys=identity_keys)


@pytest.mark.parametrize("use_http_11", [False, True])
async def test_the_official_sdk_is_discovered(use_http_11: bool) -> None:
    async with (
        serving_app(sdk_app()) as uri,
        endpoint(uri, use_http_11=use_http_11) as made,
    ):
        found = await discover(made)
        again = await discover(made)

        assert made.connection_count == 1
    assert again == found
    assert found.http_version == ("HTTP/1.1" if use_http_11 else "HTTP/2.0")
    mode = "REQUEST_RESPONSE" if use_http_11 else "BIDI_STREAM"
    assert found.manifest.protocol_mode == mode
    assert (found.sdk_version or "").startswith("restate-sdk-python/")
    assert {
        f"{service.name}/{handler.name}": (service.kind, service.kind_of(handler))
        for service in found.manifest.services
        for handler in service.handlers
    } == {
        "Greeter/greet": ("service", "stateless"),
        "Counter/add": ("object", "exclusive"),
        "Counter/look": ("object", "shared"),
        "Signup/run": ("workflow", "workflow"),
    }


@pytest.mark.parametrize("use_http_11", [False, True])
async def test_the_official_sdk_accepts_signed_requests_only(use_http_11: bool) -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from howdah.remote.identity import Identity

    identity = Identity(ed25519.Ed25519PrivateKey.generate())
    stranger = Identity(ed25519.Ed25519PrivateKey.generate())
    app = sdk_app(identity_keys=[identity.public_key])
    async with serving_app(app) as uri:
        async with endpoint(uri, identity=identity, use_http_11=use_http_11) as made:
            assert (await discover(made)).sdk_version
        for other in (None, stranger):
            error = await failure(uri, identity=other, use_http_11=use_http_11)
            assert error.code == "META0003"
            assert "401" in error.message


async def test_the_official_sdk_accepts_signed_requests_behind_a_path() -> None:
    ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
    from howdah.remote.identity import Identity

    identity = Identity(ed25519.Ed25519PrivateKey.generate())
    inner = sdk_app(identity_keys=[identity.public_key])
    async with (
        serving_app(inner) as uri,
        endpoint(f"{uri}/mounted/here", identity=identity) as made,
    ):
        assert (await discover(made)).sdk_version
