"""The queries of the `restate` command line (1.7), as it sends them for its commands: same tables,
columns, dialect and shape, and what its commands then need to find in the rows."""

import io
import time
from typing import Any
from uuid import UUID

import httpx
import pyarrow
import pytest

from howdah.ids import restate_id
from support.servers import HowdahProcess

DETAILS = """
select inv.id, inv.target, inv.target_service_ty, inv.idempotency_key, inv.status, inv.created_at,
       inv.modified_at AS state_modified_at, inv.pinned_deployment_id, inv.retry_count as num_retries,
       inv.last_failure as last_failure_message,
       inv.last_failure_related_entry_index as last_failure_entry_index,
       inv.last_failure_related_entry_name as last_failure_entry_name,
       inv.last_failure_related_entry_type as last_failure_entry_ty,
       inv.last_attempt_deployment_id, inv.last_attempt_server, inv.next_retry_at, inv.last_start_at,
       inv.invoked_by_id, inv.invoked_by_target, inv.trace_id, inv.completion_result,
       inv.completion_failure, dp.id IS NOT NULL as pinned_deployment_exists
  FROM sys_invocation inv LEFT JOIN sys_deployment dp ON dp.id = inv.pinned_deployment_id
"""


@pytest.fixture(scope="module")
def ids(server: HowdahProcess) -> dict[str, str]:
    """Invocations that the queries find, by a name: one holds a key, one waits for it."""
    with httpx.Client(base_url=server.ingress, timeout=20, trust_env=False) as http:
        done = http.post("/Counter/done/add", json=3)
        assert done.status_code == 200
        failed = http.post("/Echo/fail", json=418)
        sent = {
            name: http.post(path).json()["invocationId"]
            for name, path in (("holds", "/Counter/k/hold/send"), ("waits", "/Counter/k/hold/send"))
        }
    found = {"done": done.headers["x-restate-id"], "failed": failed.headers["x-restate-id"], **sent}
    return {name: restate_id(UUID(text)) for name, text in found.items()}


@pytest.fixture(autouse=True)
def suspended(ask: Any, ids: dict[str, str]) -> None:
    """The holder of the key is suspended, or waits at least."""
    deadline = time.monotonic() + 20
    while ask.rows(f"select status from sys_invocation where id = '{ids['holds']}'") not in (
        [{"status": "suspended"}],
        [{"status": "running"}],
    ):
        assert time.monotonic() < deadline


def test_listing_invocations(ask: Any, ids: dict[str, str]) -> None:
    listed = ask.rows(
        "SELECT\n id FROM sys_invocation inv WHERE status != 'completed'\n"
        " ORDER BY inv.created_at DESC, inv.id LIMIT 100"
    )
    assert [row["id"] for row in listed] == [ids["waits"], ids["holds"]]

    among = ", ".join(f"'{row['id']}'" for row in listed)
    waits, holds = ask.rows(
        f"{DETAILS} WHERE status != 'completed' AND inv.id in ({among})"
        " ORDER BY inv.created_at DESC, inv.id"
    )
    assert (waits["target"], waits["target_service_ty"]) == ("Counter/k/hold", "virtual_object")
    assert (waits["status"], waits["pinned_deployment_exists"]) == ("pending", False)
    assert holds["status"] in ("running", "suspended")
    assert holds["pinned_deployment_exists"] is True


def test_counting_invocations(ask: Any, ids: dict[str, str]) -> None:
    query = "SELECT COUNT(1) FROM (SELECT * FROM sys_invocation inv LIMIT 50000) {}"

    for where, count in (
        ("", 4),
        ("WHERE status != 'completed'", 2),
        ("WHERE status = 'x'", 0),
        ("WHERE inv.target_service_name IN ('Counter')", 3),
    ):
        answer = ask.post(query.format(where))
        table = pyarrow.ipc.open_stream(io.BytesIO(answer.content)).read_all()
        assert table.schema.types == [pyarrow.int64()]
        assert table.column(0).to_pylist() == [count]


def test_listing_with_every_filter(ask: Any, ids: dict[str, str]) -> None:
    (service,) = ask.rows("select * from sys_service where name = 'Counter'")
    deployment = service["deployment_id"]

    rows = ask.rows(
        f"""
        SELECT id FROM sys_invocation inv
         WHERE inv.target_service_name IN ('Counter')
           AND inv.target_service_name IN (select name from sys_service where ty = 'virtual_object')
           AND NOT (inv.pinned_deployment_id IS NOT NULL
                    AND inv.pinned_deployment_id NOT IN (select id from sys_deployment))
           AND (inv.pinned_deployment_id IN ('{deployment}')
                OR inv.last_attempt_deployment_id IN ('{deployment}'))
           AND status IN ('running', 'suspended')
         ORDER BY inv.created_at DESC, inv.id LIMIT 100"""
    )

    assert rows == [{"id": ids["holds"]}]


def test_describing_an_invocation(ask: Any, ids: dict[str, str]) -> None:
    (row,) = ask.rows(f"{DETAILS} WHERE inv.id = '{ids['failed']}'")
    journal = ask.rows(
        f"""
        SELECT sj.index, sj.entry_type, sj.completed, sj.invoked_id, sj.invoked_target,
               sj.sleep_wakeup_at, sj.name, sj.promise_name, sj.version, sj.entry_json, sj.appended_at
          FROM sys_journal sj WHERE sj.id = '{ids["failed"]}' ORDER BY index DESC LIMIT 100"""
    )

    assert (row["completion_result"], row["completion_failure"]) == (
        "failure",
        "[418] out of seats",
    )
    assert [(entry["index"], entry["entry_type"]) for entry in journal] == [
        (1, "Command: Output"),
        (0, "Command: Input"),
    ]
    assert journal[0].keys() == {
        "index", "entry_type", "name", "version", "entry_json", "appended_at",
    }  # fmt: skip
    assert ask.rows("SELECT id FROM sys_invocation inv WHERE inv.id = 'inv_1gdJBt' LIMIT 1") == []


@pytest.mark.parametrize(
    ("pattern", "statuses", "found"),
    [
        ("Counter/%", "status != 'completed'", {"holds", "waits"}),
        ("Counter/k/hold", "status IN ('invoked', 'suspended')", {"holds"}),
        ("Counter/k/%", "status = 'inboxed'", {"waits"}),
        ("Counter/%", "status = 'completed'", {"done"}),
        ("Echo/%", "status = 'completed'", {"failed"}),
        ("Other/%", "status != 'completed'", set()),
    ],
)
def test_finding_what_is_cancelled(
    ask: Any, ids: dict[str, str], pattern: str, statuses: str, found: set[str]
) -> None:
    rows = ask.rows(
        "SELECT id, target FROM sys_invocation_status"
        f" WHERE target LIKE '{pattern}' AND {statuses} LIMIT 500"
    )

    assert {row["id"] for row in rows} == {ids[name] for name in found}


def test_the_status_of_services(ask: Any, ids: dict[str, str]) -> None:
    pending = ask.rows(
        """
        SELECT target_service_name, target_handler_name, 'pending' as status,
               COUNT(1) as num_invocations, MIN(created_at) as oldest_at,
               FIRST_VALUE(id ORDER BY created_at ASC) as oldest_invocation
          FROM sys_invocation_status
         WHERE status == 'inboxed' AND target_service_name IN ('Counter')
         GROUP BY target_service_name, target_handler_name"""
    )
    every = ask.rows(
        """
        SELECT target_service_name, target_handler_name, status, COUNT(1) as num_invocations,
               MIN(created_at) as oldest_at, FIRST_VALUE(id ORDER BY created_at ASC) as oldest_invocation
          FROM sys_invocation WHERE target_service_name IN ('Counter', 'Echo')
         GROUP BY target_service_name, target_handler_name, status ORDER BY target_handler_name"""
    )

    assert pending[0] == {
        "target_service_name": "Counter",
        "target_handler_name": "hold",
        "status": "pending",
        "num_invocations": 1,
        "oldest_at": pending[0]["oldest_at"],
        "oldest_invocation": ids["waits"],
    }
    assert [(row["target_handler_name"], row["num_invocations"]) for row in every] == [
        ("add", 1), ("fail", 1), ("hold", 1), ("hold", 1),
    ]  # fmt: skip


def test_the_keys_that_are_held(ask: Any, ids: dict[str, str]) -> None:
    inbox = ask.rows(
        "SELECT service_name, service_key, COUNT(1) as num_pending FROM sys_inbox"
        " WHERE service_name IN ('Counter') GROUP BY service_name, service_key"
        " ORDER BY num_pending DESC"
    )
    holders = ask.rows(
        """
        SELECT target_service_name as service_name, target_service_key as service_key,
               status as invocation_status, first_value(id) as invocation_holding_lock,
               first_value(target_handler_name) as invocation_method_holding_lock,
               first_value(created_at) as invocation_created_at, first_value(modified_at) as modified_at,
               first_value(pinned_deployment_id) as pinned_deployment_id,
               first_value(last_failure) as last_failure_message,
               first_value(next_retry_at) as next_retry_at, first_value(last_start_at) as last_start_at,
               0 as num_pending, sum(retry_count) as num_retries
          FROM sys_invocation WHERE status != 'pending' AND target_service_name IN ('Counter')
         GROUP BY target_service_name, target_service_key, status"""
    )

    assert inbox == [{"service_name": "Counter", "service_key": "k", "num_pending": 1}]
    (holder,) = (row for row in holders if row["service_key"] == "k")
    assert holder["invocation_holding_lock"] == ids["holds"]
    assert holder["invocation_method_holding_lock"] == "hold"
    assert holder["num_pending"] == 0


def test_the_use_of_a_deployment(ask: Any, ids: dict[str, str]) -> None:
    (service,) = ask.rows("select deployment_id from sys_service where name = 'Counter'")

    rows = ask.rows(
        f"""
        SELECT target_service_name as service, target_handler_name as handler, COUNT(1) AS inv_count
          FROM sys_invocation_status
         WHERE pinned_deployment_id = '{service["deployment_id"]}' AND status != 'completed'
         GROUP BY pinned_deployment_id, target_service_name, target_handler_name"""
    )

    assert rows == [{"service": "Counter", "handler": "hold", "inv_count": 1}]


def test_the_state_of_a_key(ask: Any, ids: dict[str, str]) -> None:
    rows = ask.rows(
        "select key, value from state where service_name = 'Counter' and service_key = 'done' ;"
    )

    assert rows == [{"key": "total", "value": b"3".hex()}]


def test_older_releases_ask_for_columns_first(ask: Any, ids: dict[str, str]) -> None:
    answer = ask.post(
        "SELECT COUNT(*) FROM information_schema.columns WHERE table_name = 'sys_invocation'"
        " AND column_name IN ('completion_result', 'completion_failure')"
    )
    table = pyarrow.ipc.open_stream(io.BytesIO(answer.content)).read_all()
    rows = ask.rows(
        """
        WITH enriched AS (
          SELECT inv.id, inv.status, svc.deployment_id as latest, dp.id as known,
                 CAST(NULL as STRING) AS nothing, CAST(1 as INT UNSIGNED) AS version
            FROM sys_invocation inv
            LEFT JOIN sys_service svc ON svc.name = inv.target_service_name
            LEFT JOIN sys_deployment dp ON dp.id = inv.pinned_deployment_id
           WHERE inv.target_service_name = 'Counter' ORDER BY inv.created_at DESC)
        SELECT *, COUNT(*) OVER() AS full_count from enriched LIMIT 2"""
    )

    assert table.column(0).to_pylist() == [2]
    assert [row["id"] for row in rows] == [ids["waits"], ids["holds"]]
    assert [row["full_count"] for row in rows] == [3, 3]


def test_what_flow_control_has_no_rows_for(ask: Any) -> None:
    assert ask.rows("SELECT pattern, concurrency, disabled FROM sys_rules ORDER BY pattern") == []
    assert (
        ask.rows("SELECT id, is_active, num_inbox, num_paused FROM sys_vqueue_meta LIMIT 100") == []
    )
    assert ask.rows("SELECT entry_id, stage, has_lock FROM sys_vqueues WHERE id = 'x'") == []


def test_the_view_of_invocations_in_its_own_words(ask: Any, ids: dict[str, str]) -> None:
    rows = ask.rows(
        """
        SELECT ss.id, arrow_cast(CASE WHEN ss.status = 'inboxed' THEN 'pending'
                 WHEN sis.in_flight THEN 'running'
                 WHEN ss.status = 'invoked' AND retry_count > 0 THEN 'backing-off'
                 WHEN ss.status = 'invoked' THEN 'ready' ELSE ss.status END, 'LargeUtf8') AS status
          FROM sys_invocation_state sis RIGHT JOIN sys_invocation_status ss ON ss.id = sis.id
         WHERE ss.target_service_name = 'Counter' ORDER BY ss.created_at"""
    )

    assert [row["id"] for row in rows] == [ids["done"], ids["holds"], ids["waits"]]
    assert (rows[0]["status"], rows[2]["status"]) == ("completed", "pending")
