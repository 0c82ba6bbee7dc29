"""Endpoints over TLS: who is trusted, and which HTTP is spoken."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest

from howdah.remote.guard import Guard
from howdah.remote.http import Endpoint, Limits
from support.endpoints import Echo, Listener, serving, serving_bytes

x509 = pytest.importorskip("cryptography.x509")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")
hashes = pytest.importorskip("cryptography.hazmat.primitives.hashes")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")

Connect = Callable[..., Endpoint]


class Certificate:
    """A certificate that signs itself, for 127.0.0.1."""

    def __init__(self, folder: Path, *, address: str = "127.0.0.1") -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "endpoint")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
            )
            .sign(key, hashes.SHA256())
        )
        self.path = folder / f"{address}.pem"
        self.path.write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM)
            + key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )

    def server(self, *protocols: str) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def client(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.path))


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Makes endpoints, and closes them."""
    made: list[Endpoint] = []

    def make(uri: str, tls: ssl.SSLContext | None, *, use_http_11: bool = False) -> Endpoint:
        endpoint = Endpoint(
            uri.replace("http:", "https:"),
            guard=Guard(is_dev=True),
            tls=tls,
            use_http_11=use_http_11,
            limits=Limits(connect_seconds=5),
        )
        made.append(endpoint)
        return endpoint

    yield make
    for endpoint in made:
        endpoint.close()
    await asyncio.sleep(0.05)


async def talk_http_11(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    request = await reader.readuntil(b"\r\n\r\n")
    assert request.startswith(b"GET ")
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    await reader.read()


async def test_http_2_is_spoken_when_the_server_prefers_it(
    connect: Connect, tmp_path: Path
) -> None:
    certificate = Certificate(tmp_path)
    async with serving(Echo, tls=certificate.server("h2", "http/1.1")) as server:
        endpoint = connect(server.uri, certificate.client())
        response = await endpoint.fetch("POST", "/a", body=b"hello" * 10_000)

        assert server.peers[0].requests[1][":scheme"] == "https"
    assert (response.status, response.body) == (200, b"hello" * 10_000)
    assert response.http_version == "HTTP/2.0"


@pytest.mark.parametrize("protocols", [(), ("http/1.1",)])
async def test_http_11_is_spoken_otherwise(
    connect: Connect, tmp_path: Path, protocols: tuple[str, ...]
) -> None:
    certificate = Certificate(tmp_path)
    async with serving_bytes(talk_http_11, tls=certificate.server(*protocols)) as uri:
        response = await connect(uri, certificate.client()).fetch("GET", "/a")

    assert (response.body, response.http_version) == (b"ok", "HTTP/1.1")


async def test_http_11_is_spoken_when_it_is_asked_for(connect: Connect, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path)
    async with serving_bytes(talk_http_11, tls=certificate.server("h2", "http/1.1")) as uri:
        endpoint = connect(uri, certificate.client(), use_http_11=True)
        response = await endpoint.fetch("GET", "/a")

    assert response.http_version == "HTTP/1.1"


async def test_a_certificate_that_nobody_vouches_for_is_refused(
    connect: Connect, tmp_path: Path
) -> None:
    certificate = Certificate(tmp_path)
    async with serving(Echo, tls=certificate.server("h2")) as server:
        listener = Listener()
        connect(server.uri, None).open("/a", [], b"", end=True, listener=listener)
        error = await listener.failure()

        assert not any(peer.requests for peer in server.peers)
    assert error.kind == "connect"
    assert "certificate verify failed" in str(error).lower()


async def test_a_certificate_of_another_host_is_refused(connect: Connect, tmp_path: Path) -> None:
    certificate = Certificate(tmp_path, address="127.0.0.9")
    async with serving(Echo, tls=certificate.server("h2")) as server:
        listener = Listener()
        endpoint = connect(server.uri, certificate.client())
        endpoint.open("/a", [], b"", end=True, listener=listener)
        error = await listener.failure()

    assert error.kind == "connect"
    assert "mismatch" in str(error)
