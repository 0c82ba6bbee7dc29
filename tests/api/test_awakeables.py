"""Completing awakeables over HTTP."""

import time
from collections.abc import Iterator
from uuid import UUID, uuid4

import httpx
import pytest

from howdah.ids import awakeable_id

UNKNOWN = awakeable_id(UUID(int=7), 17)
PATHS = ["/restate/awakeables", "/restate/a"]


class Holder:
    """A handler that waits for an awakeable."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        key = uuid4().hex
        self.invocation_id = http.post(f"/Counter/{key}/hold/send").json()["invocationId"]
        deadline = time.monotonic() + 20
        while (id_ := http.post(f"/Counter/{key}/awakeable").json()) is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        self.awakeable_id: str = id_

    def answer(self) -> httpx.Response:
        return self._http.get(f"/restate/attach/{self.invocation_id}")


@pytest.fixture
def holder(http: httpx.Client) -> Holder:
    return Holder(http)


@pytest.mark.parametrize("base", PATHS)
@pytest.mark.parametrize(
    ("value", "content_type"),
    [
        (b'{"row": 7}', "application/json"),
        (b"\x00\xff\x80", "application/octet-stream"),
        (b"text", None),
        (b"", None),
        (b"x" * 900_000, "image/png"),
    ],
)
def test_a_value_arrives_as_its_bytes(
    http: httpx.Client, holder: Holder, base: str, value: bytes, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}

    answer = http.post(f"{base}/{holder.awakeable_id}/resolve", content=value, headers=headers)

    assert (answer.status_code, answer.content) == (202, b"")
    assert holder.answer().content == value


@pytest.mark.parametrize("base", PATHS)
@pytest.mark.parametrize("reason", ["sold out", "", "ausverkauft: ü \N{ELEPHANT}", 'a "b"\n'])
def test_a_reason_arrives_as_a_failure(
    http: httpx.Client, holder: Holder, base: str, reason: str
) -> None:
    answer = http.post(f"{base}/{holder.awakeable_id}/reject", content=reason.encode())

    assert (answer.status_code, answer.content) == (202, b"")
    failed = holder.answer()
    assert (failed.status_code, failed.json()["message"]) == (500, reason)
    assert failed.json()["source"] == "invocation"


def test_the_first_completion_counts(http: httpx.Client, holder: Holder) -> None:
    path = f"/restate/awakeables/{holder.awakeable_id}"

    answers = [
        http.post(f"{path}/resolve", content=b"first"),
        http.post(f"{path}/reject", content=b"second"),
        http.post(f"{path}/resolve", content=b"third"),
    ]

    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert holder.answer().content == b"first"
    assert http.post(f"{path}/resolve", content=b"late").status_code == 202


@pytest.mark.parametrize("verb", ["resolve", "reject"])
def test_nobody_has_to_wait_for_it(http: httpx.Client, verb: str) -> None:
    answer = http.post(f"/restate/awakeables/{UNKNOWN}/{verb}", content=b"x")

    assert (answer.status_code, answer.content) == (202, b"")


@pytest.mark.parametrize("verb", ["resolve", "reject"])
@pytest.mark.parametrize(
    "text",
    [
        "x",
        "",
        "prom_1" + UNKNOWN.removeprefix("sign_1"),
        UNKNOWN + "A",
        UNKNOWN[:-1],
        UNKNOWN[:-1] + "F",
        awakeable_id(UUID(int=7), 1),  # the number of a cancellation, negated
        awakeable_id(UUID(int=7), 2**32 - 1),
        "%00",
    ],
)
def test_an_id_that_is_none_is_400(http: httpx.Client, text: str, verb: str) -> None:
    answer = http.post(f"/restate/awakeables/{text}/{verb}", content=b"x")

    assert answer.status_code == 400
    assert answer.json() == {
        "code": 400,
        "message": f"bad awakeable id '{text}': bad format",
        "source": "ingress",
    }


@pytest.mark.parametrize("reason", [b"\xff", b"a\0b"])
def test_a_reason_is_text(http: httpx.Client, reason: bytes) -> None:
    answer = http.post(f"/restate/awakeables/{UNKNOWN}/reject", content=reason)

    assert answer.status_code == 400
    assert answer.json()["message"].startswith("the reason ")


@pytest.mark.parametrize("verb", ["resolve", "reject"])
def test_a_completion_over_the_limit_is_413(http: httpx.Client, verb: str) -> None:
    def parts() -> Iterator[bytes]:
        yield b"x" * 700_000
        yield b"x" * 700_000

    answers = [
        http.post(f"/restate/awakeables/{UNKNOWN}/{verb}", content=content)
        for content in (b"x" * 1_400_000, parts())
    ]

    assert [answer.status_code for answer in answers] == [413, 413]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_a_completion_is_posted(http: httpx.Client, method: str) -> None:
    answer = http.request(method, f"/restate/awakeables/{UNKNOWN}/resolve")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["", f"/{UNKNOWN}", f"/{UNKNOWN}/forget", f"/{UNKNOWN}/resolve/x"])
def test_other_paths_are_404(http: httpx.Client, path: str) -> None:
    assert http.post(f"/restate/awakeables{path}").status_code == 404
