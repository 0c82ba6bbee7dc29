"""The tables that queries may read, their columns and types. A test compares them with the views."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from howdah_api.query.tokens import words_of

UTF8: Final = "utf8"
U32: Final = "u32"
U64: Final = "u64"
I64: Final = "i64"
F64: Final = "f64"
BOOLEAN: Final = "bool"
TIMESTAMP: Final = "ts"
DURATION: Final = "duration"
BINARY: Final = "binary"
LIST_U32: Final = "list_u32"
LIST_UTF8: Final = "list_utf8"

ARROW_NAMES: Final = {
    UTF8: "LargeUtf8",
    U32: "UInt32",
    U64: "UInt64",
    I64: "Int64",
    F64: "Float64",
    BOOLEAN: "Boolean",
    TIMESTAMP: 'Timestamp(ms, "+00:00")',
    DURATION: "Duration(ms)",
    BINARY: "LargeBinary",
    LIST_U32: "List(UInt32)",
    LIST_UTF8: "List(LargeUtf8)",
}
"""What a kind of column is called in `information_schema.columns`."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column.

    Attributes:
        name: Its name.
        kind: One of the kinds above; None: whatever Postgres finds.
        uuid: For an id: the column beside it that has the id as uuid, and an index.
        is_never_null: What is known of ids.
        prefix: For a target: the column beside it that has the service's name.
        weight: About how many characters its definition has: see `WEIGHT_MAX` in `translate.py`.
        places: For a status: what each is called in the column `place`, which has an index.
        table: In a query's result: the table that it is a column of, by its name in that query.
    """

    name: str
    kind: str | None = None
    uuid: str | None = None
    is_never_null: bool = False
    prefix: str | None = None
    weight: int = 30
    places: Mapping[str, tuple[str, ...]] | None = None
    table: str | None = None


# name:kind, text without a kind. In the order of `select *`.
_TABLES: Final = {
    "sys_invocation_status": """
        partition_key:u64 id vqueue_id status completion_result completion_failure target
        target_service_name target_service_key target_handler_name target_service_ty scope
        limit_key idempotency_key invoked_by invoked_by_id invoked_by_subscription_id
        invoked_by_service_name invoked_by_target restarted_from pinned_deployment_id
        pinned_service_protocol_version:u32 trace_id journal_size:u32 journal_commands_size:u32
        created_at:ts created_using_restate_version modified_at:ts inboxed_at:ts scheduled_at:ts
        scheduled_start_at:ts running_at:ts completed_at:ts completion_retention:duration
        journal_retention:duration suspended_waiting_for_completions:list_u32
        suspended_waiting_for_signals:list_u32 suspended_waiting_future_json
    """,
    "sys_invocation_state": """
        partition_key:u64 id in_flight:bool retry_count:u64 last_start_at:ts
        last_attempt_deployment_id last_attempt_server next_retry_at:ts last_failure
        last_failure_error_code last_failure_related_entry_index:u64
        last_failure_related_entry_name last_failure_related_entry_type
        last_failure_related_command_index:u64 last_failure_related_command_name
        last_failure_related_command_type last_awaiting_on_future_json
    """,
    "sys_invocation": """
        id vqueue_id status completion_result completion_failure target target_service_name
        target_service_key target_handler_name target_service_ty scope limit_key idempotency_key
        invoked_by invoked_by_id invoked_by_subscription_id invoked_by_service_name
        invoked_by_target restarted_from pinned_deployment_id
        pinned_service_protocol_version:u32 trace_id journal_size:u32 journal_commands_size:u32
        created_at:ts created_using_restate_version modified_at:ts inboxed_at:ts scheduled_at:ts
        scheduled_start_at:ts running_at:ts completed_at:ts completion_retention:duration
        journal_retention:duration suspended_waiting_for_completions:list_u32
        suspended_waiting_for_signals:list_u32 suspended_waiting_future_json in_flight:bool
        retry_count:u64 last_start_at:ts last_attempt_deployment_id last_attempt_server
        next_retry_at:ts last_failure last_failure_error_code
        last_failure_related_entry_index:u64 last_failure_related_entry_name
        last_failure_related_entry_type last_failure_related_command_index:u64
        last_failure_related_command_name last_failure_related_command_type
        last_awaiting_on_future_json
    """,
    "sys_journal": """
        partition_key:u64 id index:u32 entry_type name completed:bool invoked_id invoked_target
        sleep_wakeup_at:ts promise_name raw:binary raw_length:u64 version:u32 entry_json
        entry_lite_json appended_at:ts
    """,
    "sys_journal_events": """
        partition_key:u64 id after_journal_entry_index:u32 appended_at:ts event_type event_json
    """,
    "sys_inbox": """
        partition_key:u64 service_name service_key id sequence_number:u64 created_at:ts
    """,
    "sys_keyed_service_status": """
        partition_key:u64 service_name service_key invocation_id
    """,
    "state": """
        partition_key:u64 scope service_name service_key key key_length:u64 value_utf8
        value:binary value_length:u64
    """,
    "sys_promise": """
        partition_key:u64 scope service_name service_key key completed:bool
        completion_success_value:binary completion_success_value_utf8 completion_failure
    """,
    "sys_service": """
        name revision:u64 public:bool ty deployment_id
    """,
    "sys_deployment": """
        id ty endpoint created_at:ts min_service_protocol_version:u32
        max_service_protocol_version:u32 services:list_utf8
    """,
    "sys_locks": """
        partition_key:u64 scope lock_name acquired_at:ts acquired_by
    """,
    "sys_rules": """
        pattern concurrency:u32 description disabled:bool version:u32 last_modified:ts
    """,
    "sys_user_limits": """
        partition_key:u64 scope l1 l2 level usage:u32 concurrency_limit:u32 rule_pattern
        available:u32 num_waiters:u64
    """,
    "sys_vqueue_meta": """
        partition_key:u64 id is_active:bool queue_is_paused:bool service_name scope limit_key
        lock_name created_at:ts last_enqueued_at:ts last_start_at:ts last_attempt_at:ts
        last_finish_at:ts num_inbox:u64 num_running:u64 num_suspended:u64 num_paused:u64
        num_finished:u64
    """,
    "sys_vqueue_entry_status": """
        partition_key:u64 entry_id vqueue_id stage status created_at:ts num_attempts:u32
    """,
    "sys_vqueues": """
        partition_key:u64 id entry_id entry_kind stage status has_lock:bool created_at:ts
        num_attempts:u32 deployment
    """,
    "sys_scheduler": """
        partition_key:u64 vqueue_id status created_at:ts num_attempts:u32
    """,
}

_WITH_UUID: Final = {
    "id": {
        "sys_invocation_status", "sys_invocation_state", "sys_invocation", "sys_journal",
        "sys_journal_events", "sys_inbox",
    },
    "invoked_by_id": {"sys_invocation_status", "sys_invocation"},
}  # fmt: skip
_UUIDS: Final = {"id": "id_uuid", "invoked_by_id": "invoked_by_uuid"}
# Columns of the views that are subqueries: Postgres plans one for each time that they are named.
_HEAVY: Final = words_of(
    "acquired_at after_journal_entry_index entry_json entry_lite_json invoked_by_service_name"
    " invoked_by_target journal_commands_size journal_size last_attempt_server last_failure public services"
    " suspended_waiting_for_completions suspended_waiting_for_signals suspended_waiting_future_json"
)
_HEAVY_WEIGHT: Final = 1000
_SAME: Final = {name: (name,) for name in ("scheduled", "suspended", "paused", "completed")}
_PLACES: Final[dict[str, Mapping[str, tuple[str, ...]]]] = {
    "sys_invocation_status": {
        **_SAME, "inboxed": ("inbox", "held"), "invoked": ("ready", "running", "backing_off"),
    },
    "sys_invocation": {
        **_SAME, "pending": ("inbox", "held"), "ready": ("ready",), "running": ("running",),
        "backing-off": ("backing_off",),
    },
}  # fmt: skip


def _column(table: str, text: str) -> Column:
    name, _, kind = text.partition(":")
    has_uuid = table in _WITH_UUID.get(name, ())
    return Column(
        name,
        kind or UTF8,
        _UUIDS[name] if has_uuid else None,
        is_never_null=has_uuid and name == "id",
        prefix="target_service_name" if name == "target" else None,
        weight=_HEAVY_WEIGHT if name in _HEAVY or name.startswith("last_failure") else 30,
        places=_PLACES.get(table) if name == "status" else None,
    )


TABLES: Final[dict[str, tuple[Column, ...]]] = {
    table: tuple(_column(table, text) for text in columns.split())
    for table, columns in _TABLES.items()
}
"""Every table with its columns: the views of the schema `restate`."""

CATALOG: Final = "restate"
SCHEMA: Final = "public"
"""What clients know as the tables' catalogue and schema."""

INFORMATION: Final[dict[str, tuple[Column, ...]]] = {
    "columns": (
        Column("table_catalog", UTF8),
        Column("table_schema", UTF8),
        Column("table_name", UTF8),
        Column("column_name", UTF8),
        Column("ordinal_position", U64),
        Column("is_nullable", UTF8),
        Column("data_type", UTF8),
    ),
    "tables": (
        Column("table_catalog", UTF8),
        Column("table_schema", UTF8),
        Column("table_name", UTF8),
        Column("table_type", UTF8),
    ),
}
"""The tables of `information_schema`."""


def information(table: str) -> list[tuple[str | int, ...]]:
    """The rows of a table of `information_schema`."""
    if table == "tables":
        return [(CATALOG, SCHEMA, name, "BASE TABLE") for name in TABLES]
    return [
        (CATALOG, SCHEMA, name, column.name, number, "YES", ARROW_NAMES[column.kind or UTF8])
        for name, columns in TABLES.items()
        for number, column in enumerate(columns)
    ]
