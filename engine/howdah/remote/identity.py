"""Signs requests, so that an endpoint can tell howdah's from anybody else's.

Each request carries a short-lived token (a JWT, signed with Ed25519) for its path. Endpoints are given
the public key, in the form that official SDKs read.
"""

from __future__ import annotations

import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from howdah.errors import InvalidOption

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEME_HEADER: Final = "x-restate-signature-scheme"
TOKEN_HEADER: Final = "x-restate-jwt-v1"
VALID_SECONDS: Final = 60
REUSE_SECONDS: Final = 15.0
"""How long a token is used for further requests to the same path."""
TOKENS_MAX: Final = 1000
KEY_BYTES_MAX: Final = 16 * 1024
OPTION: Final = "HOWDAH_IDENTITY_KEY_FILE"
_BASE58: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


class Identity:
    """Who this howdah is.

    Args:
        key: Signs.
        clock: Seconds since 1970; the endpoint's clock must agree within a minute.

    Attributes:
        public_key: As endpoints are given it: `publickeyv1_…`.
    """

    def __init__(self, key: Ed25519PrivateKey, *, clock: Callable[[], float] = time.time) -> None:
        self._key = key
        self._clock = clock
        self.public_key: Final = "publickeyv1_" + base58(key.public_key().public_bytes_raw())
        header = {"typ": "JWT", "alg": "EdDSA", "kid": self.public_key}
        self._header = _segment(msgspec.json.encode(header))
        self._tokens: dict[str, tuple[float, str]] = {}

    def __repr__(self) -> str:
        return f"Identity({self.public_key})"

    @classmethod
    def from_file(cls, path: Path) -> Identity:
        """Read a key: PKCS#8 in PEM, one Ed25519 key without a password.

        Raises:
            InvalidOption: there is no such file, it holds no such key, or the package that signs is
                not installed. HD1020.
        """
        try:
            from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
            from cryptography.hazmat.primitives.serialization import load_pem_private_key
        except ImportError as error:
            raise InvalidOption(
                name=OPTION,
                problem="needs the package cryptography, which is not installed",
                hint="Install howdah[identity].",
            ) from error
        try:
            with path.open("rb") as file:
                data = file.read(KEY_BYTES_MAX)
        except OSError as error:
            problem = f"is {path}, which cannot be read: {error.strerror}"
            raise InvalidOption(name=OPTION, problem=problem) from error
        hint = "Make one with: openssl genpkey -algorithm ed25519"
        if data.count(b"-----BEGIN ") != 1:
            problem = f"is {path}, which does not hold exactly one PEM block"
            raise InvalidOption(name=OPTION, problem=problem, hint=hint)
        try:
            key = load_pem_private_key(data, password=None)
        except (ValueError, TypeError) as error:
            problem = f"is {path}, which holds no private key that can be read"
            raise InvalidOption(name=OPTION, problem=problem, hint=hint) from error
        if not isinstance(key, Ed25519PrivateKey):
            problem = f"is {path}, whose key is not of the kind Ed25519"
            raise InvalidOption(name=OPTION, problem=problem, hint=hint)
        return cls(key)

    def headers(self, path: str) -> list[tuple[str, str]]:
        """The headers that sign a request.

        Args:
            path: Without what the deployment's URI puts before it: `/discover` or
                `/invoke/{service}/{handler}`.
        """
        now = self._clock()
        made_at, token = self._tokens.get(path, (0.0, ""))
        if not 0 <= now - made_at < REUSE_SECONDS:
            if len(self._tokens) >= TOKENS_MAX:
                self._tokens.clear()
            token = self._sign(path, int(now))
            self._tokens[path] = (now, token)
        return [(SCHEME_HEADER, "v1"), (TOKEN_HEADER, token)]

    def _sign(self, path: str, now: int) -> str:
        claims = {"aud": path, "nbf": now - VALID_SECONDS, "iat": now, "exp": now + VALID_SECONDS}
        signed = f"{self._header}.{_segment(msgspec.json.encode(claims))}"
        return f"{signed}.{_segment(self._key.sign(signed.encode('ascii')))}"


def base58(data: bytes) -> str:
    """Bytes in Bitcoin's alphabet; each leading zero byte is a `1`."""
    number, text = int.from_bytes(data, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "1" * (len(data) - len(data.lstrip(b"\0"))) + text


def _segment(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
