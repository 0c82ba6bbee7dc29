"""Decides where endpoints may be: howdah connects to addresses that people register.

Whoever may register a deployment could otherwise make howdah talk to what only its machine can
reach: a metadata service, a database, an admin port. So a name is resolved once for a connection,
the addresses are checked, and the connection goes to an address that was checked.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache, partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final
from urllib.parse import urlsplit

from howdah.errors import EndpointRefused

IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

ADDRESSES_MAX: Final = 8
"""How many addresses of one name are tried."""
RESOLVERS_MAX: Final = 16
"""How many names are resolved at once."""
RESERVED_HEADERS: Final = frozenset(
    {
        "connection",
        "content-length",
        "expect",
        "host",
        "http2-settings",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that say how a request is carried; a deployment cannot set them."""
_OWN_PREFIXES: Final = ("x-restate-jwt", "x-restate-signature")
_PORTS: Final = {"http": 80, "https": 443}
_TOKEN: Final = frozenset("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_METADATA: Final = frozenset({IPv6Address("fd00:ec2::254")})
_URI_CHARACTERS_MAX: Final = 2000


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint's URI in its parts.

    Attributes:
        scheme: `http` or `https`.
        host, port: Where; the host is a name, or an IP address without brackets.
        path: Begins with `/` unless empty, never ends with it.
        query: Without `?`; empty if there is none.
    """

    scheme: str
    host: str
    port: int
    path: str
    query: str

    @property
    def authority(self) -> str:
        """Host and port as a request names them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def read_uri(uri: str) -> Target:
    """Take an endpoint's URI apart.

    Raises:
        EndpointRefused: it is no http or https URI, or it holds credentials. HD1011.
    """
    if len(uri) > _URI_CHARACTERS_MAX or not uri.isascii() or not uri.isprintable() or " " in uri:
        raise EndpointRefused(
            uri=uri[:60],
            problem="is not a URI: it is too long, or holds blanks or letters beyond ASCII",
            hint="Encode other characters: names of hosts as xn--…, paths with %.",
        )
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError as error:
        raise EndpointRefused(uri=uri, problem=f"is not a URI: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise EndpointRefused(
            uri=uri, problem="is no address of an endpoint", hint="Give one like http://host:9080."
        )
    if "@" in parts.netloc:
        raise EndpointRefused(
            uri=f"{parts.scheme}://…@{parts.netloc.rpartition('@')[2]}",
            problem="holds credentials, which would be stored and shown",
            hint="Give them as an additional header.",
        )
    if parts.fragment or port == 0 or "\\" in uri or "%" in parts.netloc:
        raise EndpointRefused(uri=uri, problem="has a part that an endpoint's URI cannot have")
    return Target(
        parts.scheme,
        parts.hostname,
        _PORTS[parts.scheme] if port is None else port,
        parts.path.rstrip("/"),
        parts.query,
    )


def check_headers(headers: Mapping[str, str], *, uri: str = "") -> list[tuple[str, str]]:
    """Check the headers that a deployment adds to each request; return them with lower-case names.

    Raises:
        EndpointRefused: one is not a header, or says how the request is carried. HD1011.
    """
    checked = []
    for name, value in headers.items():
        lower = name.lower()
        if not lower or not _TOKEN.issuperset(lower):
            raise EndpointRefused(uri=uri, problem=f"has an additional header named {name!r}")
        if lower in RESERVED_HEADERS or lower.startswith(_OWN_PREFIXES):
            raise EndpointRefused(
                uri=uri, problem=f"cannot set {lower}, which says how a request is carried"
            )
        is_text = all(" " <= character <= "~" or character == "\t" for character in value)
        if not is_text or value != value.strip():
            raise EndpointRefused(
                uri=uri, problem=f"has a value of {lower} that is not printable ASCII"
            )
        checked.append((lower, value))
    return checked


class Guard:
    """Decides which addresses endpoints may have.

    Public addresses are allowed over https. Everything else is allowed if it is listed, and on
    a developer's machine loopback and private addresses too, and http.

    Args:
        allow: Networks (`10.0.0.0/8`), addresses, or names of hosts (`sdk.internal`; `*.internal` for
            all below it). A name allows loopback and private addresses, but no link-local ones.
        is_dev: Whether this is a developer's machine.
        own_ports: Ports of this machine that are no endpoints: ingress, admin, Postgres.

    Raises:
        EndpointRefused: an item of the list is neither. HD1011.
    """

    def __init__(
        self, allow: Iterable[str] = (), *, is_dev: bool = False, own_ports: Collection[int] = ()
    ) -> None:
        self._is_dev = is_dev
        self._own_ports = frozenset(own_ports)
        self._networks: list[IpNetwork] = []
        self._hosts: set[str] = set()
        self._lookups: dict[str, asyncio.Future[list[IpAddress]]] = {}
        for item in allow:
            text = item.strip().lower()
            network = _network(text)
            if network is not None:
                self._networks.append(network)
            elif "/" in text or not text.removeprefix("*."):
                raise EndpointRefused(
                    uri=item, problem="is neither a network like 10.0.0.0/8 nor the name of a host"
                )
            else:
                self._hosts.add(text)

    async def resolve(self, target: Target) -> list[tuple[socket.AddressFamily, str]]:
        """Find the addresses to connect to: those of the name that are allowed, in order.

        Raises:
            EndpointRefused: there are addresses, but none is allowed. HD1011.
            OSError: the name cannot be resolved.
        """
        addresses = await self._addresses(target)
        problems = [self.problem(target, address) for address in addresses]
        allowed = [
            (
                socket.AF_INET if isinstance(address, IPv4Address) else socket.AF_INET6,
                str(address),
            )
            for address, problem in zip(addresses, problems, strict=True)
            if problem is None
        ]
        if not allowed:
            raise EndpointRefused(
                uri=f"{target.scheme}://{target.authority}",
                problem=problems[0] or "has no address",
                hint="If it is meant, list its network or its host in HOWDAH_ENDPOINT_ALLOW.",
            )
        return allowed[:ADDRESSES_MAX]

    def problem(self, target: Target, address: IpAddress) -> str | None:
        """Say why this address is not allowed; None: it is."""
        real = _unwrapped(address)
        if real.is_loopback and target.port in self._own_ports:
            return f"is a port of howdah itself ({target.port})"
        if any(real in network or address in network for network in self._networks):
            return None
        if real.is_link_local or real.is_multicast or real.is_unspecified or real in _METADATA:
            return f"is at {address}, which is no place for an endpoint"
        is_listed = self._lists_host(target.host)
        if not real.is_global:
            if is_listed or (self._is_dev and (real.is_loopback or real.is_private)):
                return None
            return f"is at {address}, which is not a public address"
        if target.scheme != "https" and not is_listed and not self._is_dev:
            return "is reached over http, where everybody on the way can read and change requests"
        return None

    def _lists_host(self, host: str) -> bool:
        host = host.rstrip(".")
        if host in self._hosts:
            return True
        parts = host.split(".")
        return any("*." + ".".join(parts[n:]) in self._hosts for n in range(1, len(parts)))

    async def _addresses(self, target: Target) -> list[IpAddress]:
        try:
            return [ip_address(target.host)]
        except ValueError:
            pass
        # Threads cannot be interrupted: a name that takes long to resolve occupies one, not one for
        # each who asks, and none that other parts of the program need.
        lookup = self._lookups.get(target.host)
        if lookup is None:
            loop = asyncio.get_running_loop()
            lookup = loop.run_in_executor(_resolvers(), _look_up, target.host)
            self._lookups[target.host] = lookup
            lookup.add_done_callback(partial(self._on_looked_up, target.host))
        return await asyncio.shield(lookup)

    def _on_looked_up(self, host: str, lookup: asyncio.Future[list[IpAddress]]) -> None:
        del self._lookups[host]
        if not lookup.cancelled():
            lookup.exception()  # whoever asked may have left


@cache
def _resolvers() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(RESOLVERS_MAX, thread_name_prefix="howdah-resolver")


def _look_up(host: str) -> list[IpAddress]:
    found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(address[0]).partition("%")[0] for *_, address in found)
    return [ip_address(text) for text in texts]


def _network(text: str) -> IpNetwork | None:
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        return None


def _unwrapped(address: IpAddress) -> IpAddress:
    """The IPv4 address that an IPv6 address stands for, if it does."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.sixtofour is not None:
            return address.sixtofour
        if address in _NAT64 or (address.packed[:12] == b"\0" * 12 and int(address) > 1):
            return IPv4Address(address.packed[12:])
    return address
