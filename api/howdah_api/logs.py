"""Log lines of the commands: howdah's own way of writing them, without other libraries' noise."""

from __future__ import annotations

import logging
import sys

from howdah import logs


def configure_logs(level: str, *, shows_progress: bool = False) -> None:
    """Log to stderr from `level` on; what libraries say only from warnings on.

    Args:
        level: debug, info, warning or error.
        shows_progress: Failed attempts are shown otherwise (`progress.py`).
    """
    logs.configure_logs(level)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_without_trace)
        if shows_progress:
            handler.addFilter(_without_failed_attempts)
        if sys.stderr.isatty():
            handler.addFilter(_without_stranded)
    # Its pool warns of every attempt to reconnect, of which the engine tells once.
    logging.getLogger("asyncpg").setLevel(logging.ERROR)
    # "Running on ..." would repeat the banner.
    logging.getLogger("howdah_api.http").setLevel(logging.WARNING)


def _without_trace(record: logging.LogRecord) -> bool:
    """Leave out the traceback unless someone must act: the facts say what went wrong."""
    if record.levelno < logging.ERROR:
        record.exc_info = None
        record.exc_text = None
    return True


def _without_failed_attempts(record: logging.LogRecord) -> bool:
    return record.msg != "attempt failed"


def _without_stranded(record: logging.LogRecord) -> bool:
    """On a terminal the banner says it."""
    return not str(record.msg).startswith("invocations wait for a version that no worker serves")
