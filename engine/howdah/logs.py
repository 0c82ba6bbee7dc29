"""The names of the facts that log lines carry, and when a repeated failure is worth a line.

A message is a constant past-tense sentence; its facts stand in `extra`, under these names. Payloads,
headers and state values are never facts. Logging is configured by the command line only.
"""

from __future__ import annotations

INVOCATION_ID = "invocation_id"
ATTEMPT = "attempt"
SERVICE = "service"
HANDLER = "handler"
KEY = "key"
WORKER_ID = "worker_id"
ENTRY_INDEX = "entry_index"
COUNT = "count"
DURATION_MS = "duration_ms"
ERROR_CODE = "error_code"


def is_worth_a_line(failure_count: int) -> bool:
    """Say whether the nth failure in a row is logged: the first, then every power of two."""
    return failure_count > 0 and failure_count & (failure_count - 1) == 0
