"""Signed requests, as official SDKs check them."""

import base64
import json
from pathlib import Path

import pytest

from howdah.errors import InvalidOption
from howdah.remote.identity import Identity, base58

ed25519 = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ed25519")
serialization = pytest.importorskip("cryptography.hazmat.primitives.serialization")
ec = pytest.importorskip("cryptography.hazmat.primitives.asymmetric.ec")

NOW = 1_800_000_000.0


def pem(key: object) -> bytes:
    text: bytes = key.private_bytes(  # type: ignore[attr-defined]
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return text


def segment(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_a_token_names_key_path_and_times_and_is_signed() -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    identity = Identity(key, clock=lambda: NOW + 0.7)
    headers = dict(identity.headers("/invoke/Greeter/greet"))

    assert headers["x-restate-signature-scheme"] == "v1"
    head, claims, signature = headers["x-restate-jwt-v1"].split(".")
    assert json.loads(segment(head)) == {"typ": "JWT", "alg": "EdDSA", "kid": identity.public_key}
    assert json.loads(segment(claims)) == {
        "aud": "/invoke/Greeter/greet",
        "nbf": int(NOW) - 60,
        "iat": int(NOW),
        "exp": int(NOW) + 60,
    }
    key.public_key().verify(segment(signature), f"{head}.{claims}".encode())


def test_a_token_is_used_again_for_a_while_and_never_for_another_path() -> None:
    now = NOW
    identity = Identity(ed25519.Ed25519PrivateKey.generate(), clock=lambda: now)
    first = identity.headers("/discover")
    now += 14
    assert identity.headers("/discover") == first
    assert identity.headers("/invoke/a/b") != first
    now += 2
    second = identity.headers("/discover")
    assert second != first
    now -= 3600  # a clock that was set back
    assert identity.headers("/discover") not in (first, second)


def test_tokens_that_are_kept_are_bounded() -> None:
    identity = Identity(ed25519.Ed25519PrivateKey.generate(), clock=lambda: NOW)
    for number in range(1100):
        identity.headers(f"/invoke/a/{number}")

    assert len(identity._tokens) <= 1000


def test_base58_is_that_of_bitcoin() -> None:
    assert base58(b"hello world") == "StV1DL6CwTryKyV"
    assert base58(bytes.fromhex("0000287fb4cd")) == "11233QC4"


def test_a_key_is_read_from_a_file(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "key.pem"
    path.write_bytes(pem(key))
    identity = Identity.from_file(path)

    assert identity.public_key == "publickeyv1_" + base58(key.public_key().public_bytes_raw())
    assert "PRIVATE" not in repr(identity)


def test_what_is_no_key_is_refused(tmp_path: Path) -> None:
    key = pem(ed25519.Ed25519PrivateKey.generate())
    path = tmp_path / "key.pem"
    for data, problem in (
        (b"", "exactly one"),
        (key + key, "exactly one"),
        (key.replace(b"\n", b"\nAAAA", 1), "no private key"),
        (pem(ec.generate_private_key(ec.SECP256R1())), "Ed25519"),
    ):
        path.write_bytes(data)
        with pytest.raises(InvalidOption, match=problem) as caught:
            Identity.from_file(path)
        assert "openssl" in str(caught.value)
    with pytest.raises(InvalidOption, match="cannot be read"):
        Identity.from_file(tmp_path / "none.pem")
