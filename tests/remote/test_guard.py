"""Where endpoints may be, and what a deployment may add to requests."""

import asyncio
import socket
import threading
from ipaddress import ip_address

import pytest

from howdah.errors import EndpointRefused
from howdah.remote.guard import Guard, check_headers, read_uri
from howdah.remote.http import Endpoint
from support.endpoints import Listener, until

PUBLIC = "93.184.215.14"


def problem(guard: Guard, uri: str, address: str | None = None) -> str | None:
    target = read_uri(uri)
    return guard.problem(target, ip_address(address or target.host))


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.1.2.3", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1"),
        *("169.254.169.254", "fe80::1", "fd00:ec2::254", "fc00::1", "0.0.0.0", "::", "224.0.0.1"),
        *(
            "ff02::1",
            "255.255.255.255",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
        ),
        *(
            "64:ff9b::7f00:1",
            "64:ff9b::a9fe:a9fe",
            "2002:7f00:1::",
            "2002:a9fe:a9fe::",
            "240.0.0.1",
        ),
        *("192.0.2.1", "198.18.0.1", "2001:db8::1"),
    ],
)
def test_only_public_addresses_are_allowed(address: str) -> None:
    assert problem(Guard(), "https://example.com", address) is not None


def test_public_addresses_are_allowed_over_https_only() -> None:
    assert problem(Guard(), "https://example.com", PUBLIC) is None
    assert problem(Guard(), "https://example.com", "2606:2800:21f:cb07::1") is None
    assert "over http" in (problem(Guard(), "http://example.com", PUBLIC) or "")


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.0.0.1", "::ffff:192.168.0.1", PUBLIC])
def test_a_developers_machine_allows_loopback_and_private_addresses_and_http(address: str) -> None:
    assert problem(Guard(is_dev=True), "http://example.com", address) is None


@pytest.mark.parametrize(
    "address", ["169.254.169.254", "fe80::1", "fd00:ec2::254", "0.0.0.0", "::", "224.0.0.1"]
)
def test_a_developers_machine_allows_no_others(address: str) -> None:
    assert problem(Guard(is_dev=True), "http://example.com", address) is not None


def test_a_listed_network_is_allowed_over_http_too() -> None:
    guard = Guard(["10.0.0.0/8", "fd12::/16", "192.168.7.7"])

    assert problem(guard, "http://sdk", "10.200.0.1") is None
    assert problem(guard, "http://sdk", "fd12::1") is None
    assert problem(guard, "http://sdk", "192.168.7.7") is None
    assert problem(guard, "http://sdk", "::ffff:10.0.0.1") is None
    assert problem(guard, "http://sdk", "192.168.7.8") is not None


def test_a_listed_host_may_be_private_but_not_link_local() -> None:
    guard = Guard(["SDK.internal", "*.svc.local"])

    for host in ("sdk.internal", "sdk.internal.", "a.svc.local", "a.b.svc.local"):
        assert problem(guard, f"http://{host}:9080", "10.0.0.1") is None
        assert problem(guard, f"http://{host}:9080", "169.254.169.254") is not None
    for host in ("internal", "xsdk.internal", "svc.local", "a.svc.local.evil.com"):
        assert problem(guard, f"https://{host}", "10.0.0.1") is not None


def test_ports_of_howdah_itself_are_refused() -> None:
    guard = Guard(["127.0.0.0/8"], is_dev=True, own_ports=[9070])

    assert problem(guard, "http://127.0.0.1:9070") == "is a port of howdah itself (9070)"
    assert problem(guard, "http://[::ffff:127.0.0.1]:9070") is not None
    assert problem(guard, "http://127.0.0.1:9080") is None
    assert problem(guard, "http://10.0.0.1:9070") is None


@pytest.mark.parametrize("item", ["10.0.0.0/40", "a/b", "", "*."])
def test_what_is_neither_network_nor_host_is_refused(item: str) -> None:
    with pytest.raises(EndpointRefused, match="neither a network"):
        Guard([item])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "localhost", "[::1]"]
)
async def test_a_name_is_judged_by_the_addresses_that_it_has(host: str) -> None:
    with pytest.raises(EndpointRefused, match="not a public address"):
        await Guard().resolve(read_uri(f"https://{host}:9080"))

    addresses = await Guard(is_dev=True).resolve(read_uri(f"http://{host}:9080"))
    assert all(ip_address(address).is_loopback for _, address in addresses)


async def test_a_name_that_many_ask_for_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    release, asked = threading.Event(), []

    def slow(host: str, *arguments: object, **named: object) -> list[object]:
        asked.append(host)
        release.wait(10)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (PUBLIC, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    guard, target = Guard(), read_uri("https://slow.example")
    tasks = [asyncio.create_task(guard.resolve(target)) for _ in range(20)]
    await until(lambda: asked)
    tasks[0].cancel()
    release.set()
    results = await asyncio.gather(*tasks[1:])

    assert results == [[(socket.AF_INET, PUBLIC)]] * 19
    assert asked == ["slow.example"]


async def test_addresses_come_with_their_family() -> None:
    assert await Guard(is_dev=True).resolve(read_uri("http://[::1]:1")) == [
        (socket.AF_INET6, "::1")
    ]


async def test_a_refused_address_gets_no_connection() -> None:
    endpoint = Endpoint("http://127.0.0.1:9080", guard=Guard())
    listener = Listener()
    endpoint.open("/discover", [], b"", end=True, listener=listener)
    error = await listener.failure()
    endpoint.close()

    assert error.kind == "connect"
    assert error.is_refusal
    assert "HOWDAH_ENDPOINT_ALLOW" in str(error)


def test_a_uri_is_taken_apart() -> None:
    target = read_uri("https://example.com/a/b/?x=1")
    assert (target.scheme, target.host, target.port) == ("https", "example.com", 443)
    assert (target.path, target.query, target.authority) == ("/a/b", "x=1", "example.com")
    assert read_uri("http://[::1]:9080").authority == "[::1]:9080"
    assert read_uri("http://A.example/").path == ""


@pytest.mark.parametrize(
    "uri",
    [
        *("", "example.com", "ftp://example.com", "http://", "http:///x", "file:///etc/passwd"),
        *("http://example.com:99999", "http://example.com:0", "http://a b", "http://a\r\nb"),
        *("http://example.com/#x", "http://ex\u00e4mple.com", "http://[::1", "http://a\\@b"),
        *("http://[fe80::1%25eth0]/", "http://%31", "http://" + "a" * 3000),
    ],
)
def test_what_is_no_uri_of_an_endpoint_is_refused(uri: str) -> None:
    with pytest.raises(EndpointRefused):
        read_uri(uri)


def test_credentials_in_a_uri_are_refused_and_not_shown() -> None:
    with pytest.raises(EndpointRefused, match="credentials") as caught:
        read_uri("https://user:hunter2@example.com/x")

    assert "hunter2" not in str(caught.value)


def test_headers_are_checked_and_come_back_in_lower_case() -> None:
    assert check_headers({"Authorization": "Bearer x", "X-A": ""}) == [
        ("authorization", "Bearer x"),
        ("x-a", ""),
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("Host", "a"), ("connection", "close"), ("Transfer-Encoding", "x"), ("te", "trailers")),
        *((":authority", "a"), ("a b", "c"), ("", "c"), ("a\r\n", "c"), ("a:", "c")),
        *(("content-length", "1"), ("x-restate-jwt-v1", "x"), ("upgrade", "h2c")),
        *(("a", "b\r\nc: d"), ("a", "\u00e4"), ("a", " b"), ("a", "\0")),
    ],
)
def test_headers_that_say_how_a_request_is_carried_are_refused(name: str, value: str) -> None:
    with pytest.raises(EndpointRefused):
        check_headers({name: value})
