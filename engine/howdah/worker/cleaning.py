"""Removes what is kept no longer: expired invocations and journals, in small batches."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

CLEAN = "select howdah_core.clean($1)"
CLEAN_MAX = 500
"""Invocations that are removed in one transaction."""


class Cleaning:
    """The cleaning loop's step, in every process; rows that another removes are skipped."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run_once(self) -> None:
        """Remove all that has expired by now, a batch at a time."""
        removed = 0
        while not self._engine.recovery.is_running:
            rows = await self._engine.database.fetch(CLEAN, CLEAN_MAX)
            removed += rows[0][0]
            if not rows[0][0]:
                break
        if removed:
            logger.info("expired invocations were removed", extra={"count": removed})
