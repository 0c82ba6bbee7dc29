"""Sockets to listen on, made early: a port in use is found before anything else is started."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from howdah.errors import UsageError
from howdah.options import parse_address

BACKLOG = 2048


def bind(address: str, *, option: str) -> socket.socket:
    """Listen on `HOST:PORT`; port 0 takes any free one.

    Raises:
        UsageError: the port is in use, may not be used, or the host has no such address.
    """
    host, port = parse_address(address)
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"{option} {address}: {host!r} is not a known host.") from error
    family, kind, protocol, _, where = found[0]
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(where)
        # Two sockets with SO_REUSEADDR may both be bound to a port; only one may listen. And a
        # client that comes before everything is started waits instead of being refused.
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise _refused(option, address, error) from error
    return sock


def _refused(option: str, address: str, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(
            f"{option} {address}: the port is in use.",
            hint=f"Stop what listens there, or choose another with {option} HOST:PORT.",
        )
    return UsageError(f"{option} {address}: {os.strerror(error.errno or 0)}.")


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach `HOST:PORT`."""
    host, _ = parse_address(address)
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def url_of(sock: socket.socket) -> str:
    """`http://HOST:PORT` as a client on this machine writes it."""
    host, port = sock.getsockname()[:2]
    if host in ("0.0.0.0", "::"):
        host = "127.0.0.1" if host != "::" else "::1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
