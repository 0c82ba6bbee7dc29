"""What operators ask: cancel, kill, pause, resume, purge, restart.

Postgres decides and answers in one call; this process only passes on who is to be told. Orders that
somebody left in a transaction of their own are carried out here, one transaction each.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any
from uuid import UUID

from howdah.store import operations

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

logger = logging.getLogger(__name__)

LOST_LEASES = "select * from howdah_core.lost_leases($1, $2, $3)"


class Operating:
    """Carries out operations, and tells those concerned."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._is_busy = False
        self._is_wanted = False

    async def operate(self, verb: str, id_: UUID, deployment: str | None = None) -> str:
        """Do one operation on one invocation; returns the word with which the database answers.

        Args:
            verb: cancel, kill, pause, resume, purge or purge_journal.
            id_: The invocation.
            deployment: For resume: `latest`, or a deployment's name; None keeps the version.

        Returns:
            done, accepted, unknown, completed, 'not completed', 'not started', 'not running',
            'still running', 'unknown deployment', or busy: it is locked by somebody.

        Raises:
            StoreUnavailable: the database is away; it may have been done.

        Durability: what the word says is on disk. Source: store/operations.py.
        """
        word, row = await operations.operate(self._engine.database.fetch, verb, id_, deployment)
        if row is not None:
            self._tell(id_, row)
        return word

    async def restart_as_new(
        self, id_: UUID, from_entry: int = 0, deployment: str | None = None
    ) -> tuple[str, UUID | None]:
        """Begin a completed invocation again under a new id; returns a word and that id.

        Args:
            id_: The completed invocation.
            from_entry: The last journal entry that the new one keeps; 0 keeps the input alone.
            deployment: As for `operate`.

        Returns:
            done and the id, or without one: unknown, 'not started', 'still running', unsupported,
            gone, 'out of range', incomplete, 'unknown deployment' or busy.

        Raises:
            StoreUnavailable: the database is away; it may have been restarted.

        Source: sql/functions/67_restart.sql.
        """
        word, new_id = await operations.restart_as_new(
            self._engine.database.fetch, id_, from_entry, deployment
        )
        if new_id is not None:
            self._engine.promoting.poll.now.set()
            self._engine.ask_for_work()
        return word, new_id

    def on_orders(self) -> None:
        """Somebody left an order."""
        self._is_wanted = True
        if not self._is_busy:
            self._is_busy = True
            self._engine.loops.later(self._carry_out())

    async def _carry_out(self) -> None:
        try:
            while self._is_wanted and not self._engine.recovery.is_running:
                self._is_wanted = False
                await operations.carry_out_orders(self._engine.database.fetch, self._on_done)
        finally:
            self._is_busy = False

    def _on_done(self, row: Any) -> None:
        facts = {"invocation_id": str(row["id"]), "verb": row["verb"], "result": row["result"]}
        logger.info("an order was carried out", extra=facts)
        if row["result"] != "again":
            self._is_wanted = True
        self._tell(row["id"], row)

    def _tell(self, id_: UUID, row: Any) -> None:
        engine = self._engine
        if row["worker"] is not None:
            if row["worker"] == engine.worker_no:
                self.on_taken(id_)
            else:
                engine.hints.tell_taken(row["worker"], id_)
        if row["queues"]:
            engine.on_ready(set(row["queues"]))
        if row["mail_id"] is not None:
            if row["mail_worker"] is not None:
                engine.on_mail([(row["mail_id"], row["mail_worker"])])
            else:
                engine.on_wake([row["mail_id"]])
        if row["has_sinks"]:
            engine.on_sinks([id_])
        if row["origin"] is not None:
            if row["origin"] == engine.worker_no:
                engine.clients.on_completed([id_])
            else:
                engine.hints.tell_completed(row["origin"], id_)
        if row["orders"]:
            self.on_orders()

    def on_taken(self, id_: UUID) -> None:
        """The lease of an invocation was taken away, somebody says: stop its code if so.

        The word may be older than the lease that is held here now.
        """
        if id_ in self._engine.residents:
            self._engine.loops.later(self._drop_if_lost(id_))

    async def _drop_if_lost(self, id_: UUID) -> None:
        engine = self._engine
        attempt = engine.residents.get(id_)
        if attempt is None:
            return
        asked = (engine.worker_no, [id_], [attempt.epoch])
        if await engine.database.fetch(LOST_LEASES, *asked):
            attempt.abandon()
