"""Log lines of the commands: howdah's own way of writing them, without other libraries' noise."""

from __future__ import annotations

import logging

from howdah import logs


def configure_logs(level: str) -> None:
    """Log to stderr from `level` on; what libraries say only from warnings on."""
    logs.configure_logs(level)
    for handler in logging.getLogger().handlers:
        handler.addFilter(_without_trace)
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
