"""What operators do over the admin port, to one invocation and to many."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from howdah.ids import restate_id

UNKNOWN = "0192f0c1-2b3c-7d4e-8f50-617283940a1b"
VERBS = ["cancel", "kill", "pause", "resume", "purge", "purge-journal", "restart-as-new"]
BOUND_SECONDS = 20.0


def sent(http: httpx.Client, path: str, argument: Any = None, **facts: Any) -> str:
    id_: str = http.post(f"{path}/send", json=argument, **facts).json()["invocationId"]
    return id_


def until(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + BOUND_SECONDS
    while not (value := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return value


def patch(admin: httpx.Client, id_: str, verb: str, **query: Any) -> tuple[int, str | None]:
    """The status of an operation, and the message when it is refused."""
    answer = admin.patch(f"/invocations/{id_}/{verb}", params=query)
    body = answer.json() if answer.content else {}
    assert answer.is_success or body.keys() == {"message", "restate_code"}, body
    return answer.status_code, body.get("message")


def rows(admin: httpx.Client, query: str) -> list[dict[str, Any]]:
    headers = {"accept": "application/json"}
    found: list[dict[str, Any]] = admin.post(
        "/query", json={"query": query}, headers=headers
    ).json()["rows"]
    return found


@pytest.fixture
def finished(http: httpx.Client) -> str:
    return http.post("/Echo/double", json=21).headers["x-restate-id"]


@pytest.fixture
def scheduled(http: httpx.Client) -> str:
    return sent(http, "/Echo/double", 21, params={"delay": "1h"})


@pytest.fixture
def asleep(http: httpx.Client) -> str:
    """The id of an invocation that sleeps for an hour, and does already."""
    return sent(http, "/Echo/pause", 3600)


def test_a_sleeper_is_canceled(http: httpx.Client, admin: httpx.Client, asleep: str) -> None:
    status, _ = patch(admin, asleep, "cancel")
    answer = http.get(f"/restate/attach/{asleep}")

    assert status in (200, 202)  # 200 when it had not begun yet
    assert answer.status_code == 409
    assert answer.json()["source"] == "invocation"


def test_a_scheduled_one_is_canceled_at_once(
    http: httpx.Client, admin: httpx.Client, scheduled: str
) -> None:
    assert patch(admin, scheduled, "cancel") == (200, None)
    assert http.get(f"/restate/output/{scheduled}").status_code == 409


def test_what_never_ends_is_killed(http: httpx.Client, admin: httpx.Client, tmp_path: Path) -> None:
    stuck = sent(http, "/Echo/touch", str(tmp_path / "never"))

    assert patch(admin, stuck, "kill") == (200, None)
    answer = http.get(f"/restate/attach/{stuck}")
    assert (answer.status_code, answer.json()["message"]) == (409, "killed")


def test_a_paused_one_goes_on_when_it_is_resumed(
    http: httpx.Client, admin: httpx.Client, tmp_path: Path
) -> None:
    flag = tmp_path / "flag"
    waiting = sent(http, "/Echo/touch", str(flag))

    assert patch(admin, waiting, "pause") == (202, None)
    assert patch(admin, waiting, "pause") == (200, None)
    flag.touch()
    assert http.get(f"/restate/output/{waiting}").status_code == 470
    assert patch(admin, waiting, "resume") == (200, None)
    assert http.get(f"/restate/attach/{waiting}").json() == "touched"


def test_a_completed_one_is_restarted(
    http: httpx.Client, admin: httpx.Client, finished: str
) -> None:
    answer = admin.patch(f"/invocations/{finished}/restart-as-new", params={"from": 0})

    new_id = answer.json()["new_invocation_id"]
    assert (answer.status_code, new_id == finished) == (200, False)
    assert http.get(f"/restate/attach/{new_id}").json() == 42


def test_an_id_may_have_the_form_of_other_tools_and_is_answered_in_it(
    http: httpx.Client, admin: httpx.Client, finished: str, scheduled: str
) -> None:
    id_, other = restate_id(UUID(finished)), restate_id(UUID(scheduled))

    restarted = admin.patch(f"/invocations/{id_}/restart-as-new").json()["new_invocation_id"]
    refused = patch(admin, id_, "kill")
    batch = {"invocation_ids": [other, id_]}
    canceled = admin.post("/internal/invocations_batch_operations/cancel", json=batch).json()
    batch = {"invocation_ids": [id_]}
    again = admin.post("/internal/invocations_batch_operations/restart-as-new", json=batch).json()

    assert restarted.startswith("inv_1")
    assert http.get(f"/restate/attach/{restarted}").json() == 42
    assert refused == (409, f"The invocation '{id_}' was already completed.")
    assert canceled["succeeded"] == [other]
    assert [one["invocation_id"] for one in canceled["failed"]] == [id_]
    assert again["succeeded"][0]["old_invocation_id"] == id_
    assert again["succeeded"][0]["new_invocation_id"].startswith("inv_1")
    assert admin.delete(f"/invocations/{id_}", params={"mode": "purge"}).status_code == 202
    assert http.get(f"/restate/output/{finished}").status_code == 404


@pytest.mark.parametrize("field", ["id", "name"])
def test_a_deployment_is_named_by_its_name_or_its_id(
    admin: httpx.Client, http: httpx.Client, tmp_path: Path, field: str
) -> None:
    (deployment,) = admin.get("/deployments").json()["deployments"]
    waiting = sent(http, "/Echo/touch", str(tmp_path / field))
    running = f"select id from sys_invocation where id = '{waiting}' and status = 'running'"
    until(lambda: rows(admin, running))
    until(lambda: patch(admin, waiting, "pause")[0] == 200)

    assert patch(admin, waiting, "resume", deployment=deployment[field]) == (200, None)
    assert admin.get(f"/deployments/{deployment[field]}").json()["id"] == deployment["id"]
    assert patch(admin, waiting, "kill") == (200, None)


def test_a_completed_one_is_removed(http: httpx.Client, admin: httpx.Client, finished: str) -> None:
    assert patch(admin, finished, "purge-journal") == (200, None)
    assert http.get(f"/restate/output/{finished}").json() == 42
    assert patch(admin, finished, "restart-as-new")[0] == 410
    assert patch(admin, finished, "purge") == (200, None)
    assert http.get(f"/restate/output/{finished}").status_code == 404


@pytest.mark.parametrize(
    ("verb", "status", "ending"),
    [
        ("cancel", 409, "was already completed."),
        ("kill", 409, "was already completed."),
        ("pause", 409, "is not running, cannot be paused."),
        ("resume", 409, "is completed, cannot be resumed."),
    ],
)
def test_what_is_completed_is_left_alone(
    admin: httpx.Client, finished: str, verb: str, status: int, ending: str
) -> None:
    assert patch(admin, finished, verb) == (status, f"The invocation '{finished}' {ending}")


@pytest.mark.parametrize(
    ("verb", "status", "ending"),
    [
        ("pause", 409, "is not running, cannot be paused."),
        ("resume", 425, "is either inboxed or scheduled, cannot be resumed."),
        ("purge", 409, "is not yet completed."),
        ("purge-journal", 409, "is not yet completed."),
        ("restart-as-new", 425, "is either inboxed or scheduled, cannot be restarted."),
    ],
)
def test_what_has_not_begun_cannot_do_all(
    admin: httpx.Client, scheduled: str, verb: str, status: int, ending: str
) -> None:
    assert patch(admin, scheduled, verb) == (status, f"The invocation '{scheduled}' {ending}")


def test_what_runs_is_neither_restarted_nor_removed(admin: httpx.Client, asleep: str) -> None:
    said = until(
        lambda: (
            (
                answer := patch(admin, asleep, "restart-as-new"),
                answer[0] == 409,
            )[-1]
            and answer
        )
    )

    assert said == (409, f"The invocation '{asleep}' is still running.")
    assert patch(admin, asleep, "purge")[0] == 409


def test_the_run_of_a_workflow_is_not_restarted(http: httpx.Client, admin: httpx.Client) -> None:
    key = uuid4().hex
    run = sent(http, f"/Approval/{key}/run", 1)
    http.post(f"/Approval/{key}/approve", json="ann")
    http.get(f"/restate/attach/{run}")

    status, message = patch(admin, run, "restart-as-new")

    assert status == 422
    assert message is not None
    assert "the run of a workflow" in message


@pytest.mark.parametrize("verb", ["resume", "restart-as-new"])
def test_an_unknown_deployment_is_404(
    http: httpx.Client, admin: httpx.Client, tmp_path: Path, finished: str, verb: str
) -> None:
    id_ = finished
    if verb == "resume":
        id_ = sent(http, "/Echo/touch", str(tmp_path / "never"))
        assert patch(admin, id_, "pause")[0] == 202

    status, message = patch(admin, id_, verb, deployment="nobody")

    assert status == 404
    assert message is not None
    assert message.startswith("The requested deployment 'nobody' does not exist")
    assert patch(admin, id_, verb, deployment="a\0b")[0] == 400
    assert patch(admin, id_, verb, deployment="latest")[0] == 200


@pytest.mark.parametrize("verb", VERBS)
def test_an_unknown_invocation_is_404(admin: httpx.Client, verb: str) -> None:
    message = f"The requested invocation '{UNKNOWN}' does not exist"

    assert patch(admin, UNKNOWN, verb) == (404, message)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("text", ["x", "inv_1abc", "%00", "%FF", UNKNOWN[:-1]])
def test_an_id_that_is_none_is_400(admin: httpx.Client, verb: str, text: str) -> None:
    message = "The request field 'invocation_id' is invalid. Reason: bad format"

    assert patch(admin, text, verb) == (400, message)


@pytest.mark.parametrize("index", ["-1", "x", "1.5", "99999999999", "٣", ""])
def test_an_entry_that_is_none_is_400(admin: httpx.Client, finished: str, index: str) -> None:
    status, message = patch(admin, finished, "restart-as-new", **{"from": index})

    assert status == 400
    assert message is not None
    assert message.startswith("The request field 'from' is invalid. Reason: ")


def test_an_entry_beyond_the_journal_is_400(admin: httpx.Client, finished: str) -> None:
    assert patch(admin, finished, "restart-as-new", **{"from": 1000})[0] == 400


def test_delete_says_202_whatever_comes_of_it(
    http: httpx.Client, admin: httpx.Client, scheduled: str
) -> None:
    answers = [
        admin.delete(f"/invocations/{scheduled}"),
        admin.delete(f"/invocations/{scheduled}", params={"mode": "kill"}),
        admin.delete(f"/invocations/{UNKNOWN}", params={"mode": "cancel"}),
    ]

    assert [answer.status_code for answer in answers] == [202, 202, 202]
    assert http.get(f"/restate/output/{scheduled}").status_code == 409
    assert admin.delete(f"/invocations/{scheduled}?mode=purge").status_code == 202
    assert http.get(f"/restate/output/{scheduled}").status_code == 404
    assert admin.delete(f"/invocations/{scheduled}?mode=forget").status_code == 400
    assert admin.delete("/invocations/x").status_code == 400


def batch(admin: httpx.Client, verb: str, **body: Any) -> httpx.Response:
    return admin.post(f"/internal/invocations_batch_operations/{verb}", json=body)


def test_a_batch_tells_what_became_of_each(
    http: httpx.Client, admin: httpx.Client, finished: str, scheduled: str
) -> None:
    other = sent(http, "/Echo/double", 1, params={"delay": "1h"})

    answer = batch(
        admin, "cancel", invocation_ids=[other, finished, "x", UNKNOWN, scheduled, other]
    )

    assert answer.status_code == 200
    assert answer.json() == {
        "succeeded": [other, scheduled],
        "failed": [
            {
                "invocation_id": finished,
                "error": f"The invocation '{finished}' was already completed.",
            },
            {
                "invocation_id": "x",
                "error": "The request field 'invocation_id' is invalid. Reason: bad format",
            },
            {
                "invocation_id": UNKNOWN,
                "error": f"The requested invocation '{UNKNOWN}' does not exist",
            },
        ],
    }


def test_a_batch_restarts(http: httpx.Client, admin: httpx.Client, finished: str) -> None:
    answer = batch(admin, "restart-as-new", invocation_ids=[finished], deployment="latest").json()

    assert answer["failed"] == []
    (pair,) = answer["succeeded"]
    assert pair["old_invocation_id"] == finished
    assert http.get(f"/restate/attach/{pair['new_invocation_id']}").json() == 42


@pytest.mark.parametrize("verb", ["kill", "purge", "purge-journal", "pause", "resume"])
def test_every_verb_has_a_batch(admin: httpx.Client, verb: str) -> None:
    assert batch(admin, verb, invocation_ids=[]).json() == {"succeeded": [], "failed": []}


def test_a_batch_takes_a_thousand(admin: httpx.Client) -> None:
    ids = [str(UUID(int=n)) for n in range(1001)]

    assert len(batch(admin, "cancel", invocation_ids=ids[:1000]).json()["failed"]) == 1000
    refused = batch(admin, "cancel", invocation_ids=ids)
    assert refused.status_code == 400
    assert refused.json()["message"] == "Batch size 1001 exceeds maximum allowed size of 1000"
