"""The words that processes say to each other, so that nobody waits for the next poll.

A queue's number on the channel of work (negative: of what was called in a scope), any word on those of services and of orders, an id on that
of mail that somebody sent by SQL, and on a process's own channel `m:<id>` (a running invocation has
mail), `c:<id>` (an invocation completed) and `k:<id>` (a lease was taken away). A lost word costs
time only: polls and the sweep find the same in the tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from howdah.store.wakeups import (
    COMPLETED,
    MAIL,
    MAILS,
    ORDERS,
    REGISTRY,
    TAKEN,
    WORK,
    Listener,
    Notifier,
    channel_of,
    completed_word,
    mail_word,
    taken_word,
)

if TYPE_CHECKING:
    from howdah.worker.engine import Engine

PROMOTE = "0"
"""As a queue: something is due that enters an inbox."""
FREED = "-"
"""As a queue: one of a scope does not run any more, or the rules changed."""


class Hints:
    """What this process tells others, and what it does with what it is told."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.notifier = Notifier(engine.dsn)
        self.listener = Listener(engine.dsn, self._channels, self._on_words, self._on_gap)

    # Out.

    def on_ready(self, queues: set[int]) -> None:
        """Queues have ready work: take it, or tell others."""
        self._ask_for(queues)
        for queue in queues:
            self.notifier.add(WORK, str(queue))

    def on_mail(self, ids: list[tuple[UUID, int]]) -> None:
        """Running invocations have mail: read it, or tell those that execute them."""
        own_no = self._engine.worker_no
        own = [id_ for id_, worker_no in ids if worker_no == own_no]
        for id_, worker_no in ids:
            if worker_no != own_no:
                self.notifier.add(channel_of(worker_no), mail_word(id_))
        if own:
            self._engine.loops.later(self._engine.delivering.read_mail(own))

    def _ask_for(self, queues: set[int]) -> None:
        engine = self._engine
        served = [queue for queue in queues if abs(queue) in engine.queues]
        if any(queue > 0 for queue in served):
            engine.claiming.poll.now.set()
        if any(queue < 0 for queue in served):
            engine.limiting.poll.now.set()

    def tell_freed(self) -> None:
        """One that was called in a scope does not run any more: another may begin."""
        self._engine.limiting.poll.now.set()
        self.notifier.add(WORK, FREED)

    def tell_work(self, queue: int) -> None:
        """Others may take work of this queue."""
        self.notifier.add(WORK, str(queue))

    def tell_taken(self, worker_no: int, id_: UUID) -> None:
        """That process executes an invocation that is not its own any more."""
        self.notifier.add(channel_of(worker_no), taken_word(id_))

    def tell_completed(self, worker_no: int, id_: UUID) -> None:
        """A client of that process may wait for this outcome."""
        self.notifier.add(channel_of(worker_no), completed_word(id_))

    # In.

    def _channels(self) -> list[str]:
        return [WORK, REGISTRY, MAILS, ORDERS, channel_of(self._engine.worker_no)]

    def _on_words(self, channel: str, words: list[str]) -> None:
        engine = self._engine
        if channel == WORK:
            if PROMOTE in words:
                engine.promoting.poll.now.set()
            if FREED in words:
                engine.limiting.poll.now.set()
            self._ask_for({int(word) for word in words if word.lstrip("-").isdigit()})
        elif channel == REGISTRY:
            engine.refresh_registry()
        elif channel == ORDERS:
            engine.on_orders()
        elif channel == MAILS:
            ids = [UUID(word) for word in words]
            engine.loops.later(engine.delivering.read_mail(ids))
            engine.on_wake(ids)
        else:
            mail = [UUID(word[2:]) for word in words if word.startswith(MAIL)]
            completed = [UUID(word[2:]) for word in words if word.startswith(COMPLETED)]
            if mail:
                engine.loops.later(engine.delivering.read_mail(mail))
            if completed:
                engine.clients.on_completed(completed)
            for word in words:
                if word.startswith(TAKEN):
                    engine.operating.on_taken(UUID(word[2:]))

    def _on_gap(self) -> None:
        self._engine.ask_for_work()
        self._engine.promoting.poll.now.set()
        self._engine.refresh_registry()
