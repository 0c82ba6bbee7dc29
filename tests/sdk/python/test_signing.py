"""Requests are signed, and endpoints that know the key take no others."""

from pathlib import Path
from typing import TypeAlias

import pytest
import restate
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from howdah.remote.identity import Identity
from sdk.world import running_howdah
from support.engines import assert_healthy
from support.sdk import serving_app

guarded = restate.VirtualObject("Guarded")
Answer: TypeAlias = "dict[str, str]"


@guarded.handler()
async def add(ctx: restate.ObjectContext, number: int) -> int:
    total = (await ctx.get("total", type_hint=int) or 0) + number
    ctx.set("total", total)
    return total


def key_file(folder: Path, name: str) -> Path:
    path = folder / name
    key = Ed25519PrivateKey.generate()
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


@pytest.mark.parametrize("use_http_11", [False, True])
async def test_an_endpoint_with_a_key_is_driven_by_who_has_the_other_half(
    dsn: str, tmp_path: Path, use_http_11: bool
) -> None:
    path = key_file(tmp_path, "key.pem")
    public = Identity.from_file(path).public_key
    stranger = Identity.from_file(key_file(tmp_path, "other.pem")).public_key

    async with (
        serving_app(restate.app([guarded], identity_keys=[public])) as uri,
        serving_app(restate.app([guarded], identity_keys=[stranger])) as foreign,
        running_howdah(dsn, "", tmp_path, HOWDAH_IDENTITY_KEY_FILE=str(path)) as world,
    ):
        await world.register(uri, use_http_11=use_http_11)
        refused = await world.admin.post(
            "/deployments", json={"uri": foreign, "use_http_11": use_http_11}
        )

        assert await world.call("Guarded/a/add", 1) == 1
        assert await world.call("Guarded/a/add", 2) == 3
        assert refused.json()["restate_code"] == "META0003"
        assert "401" in refused.json()["message"]
        await assert_healthy(world.db)
