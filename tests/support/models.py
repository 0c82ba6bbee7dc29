"""A model of everything around the machine: commits, mail, timers, crashes, in any order.

The machine and the combinators are the product's own. What is modelled is the attempt and the
database: an attempt writes entries, which are committed in batches or lost; what comes back is
revealed after its commit; mail waits in a mailbox and is taken by the attempt or by a claim.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Coroutine, Generator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from howdah import Cancelled, DurableFuture, TerminalError
from howdah.machine.entries import CANCEL, NOTIFICATION, Entry, Kind, signal_cid
from howdah.machine.machine import Machine, WaitKey
from support.random_programs import LEAVES, Operation, execute


@dataclass
class Journaled:
    """An invocation as the database has it, and what its steps really did."""

    program: list[Operation]
    journal: list[Entry] = field(default_factory=list)
    mailbox: list[Entry] = field(default_factory=list)
    executed: Counter[int] = field(default_factory=Counter)
    """By completion id: how often a step's code ran."""


class ModelFuture(DurableFuture[Any]):
    """What a command of the model gives."""

    def _decode(self, entry: Entry) -> Any:
        if entry.detail is not None:
            raise TerminalError(msgspec.json.decode(entry.detail)["message"])
        return None if entry.value is None else msgspec.json.decode(entry.value)


class Blocked:
    """The handler waits; `__await__` gives the turn back to who drives it."""

    def __await__(self) -> Generator[None, None, None]:
        yield None


class ModelAttempt:
    """One attempt at a program: what `Attempt` does, without process and database.

    Args:
        invocation: What is committed.
        claim: Whether the mailbox is taken into the journal first, as a claim does.
    """

    def __init__(self, invocation: Journaled, *, claim: bool) -> None:
        self.invocation = invocation
        if claim:
            for mail in invocation.mailbox:
                invocation.journal.append(mail._replace(idx=len(invocation.journal) + 1))
            invocation.mailbox.clear()
        self.machine = Machine("Model/run", list(invocation.journal))
        self.seen: list[str] = []
        self.written: list[Entry] = []
        """Not committed yet, in order."""
        self.taken: list[Entry] = []
        """Mail that is written and leaves the mailbox with that commit."""
        self.running: dict[int, str] = {}
        """Steps and timers that are on, by completion id."""
        self.awaited: tuple[tuple[WaitKey, ...], bool] | None = None
        self.is_done = False
        self._calls: list[int] = []
        self._handler: Coroutine[Any, Any, None] = execute(invocation.program, self, self.seen)

    # What the handler uses.

    def make(self, kind: str, number: int) -> ModelFuture:
        if kind == "awakeable":
            return ModelFuture(self, -self.machine.awakeable())
        if kind.startswith("signal"):
            return ModelFuture(self, self.machine.signal(kind))
        commands = {
            "step": (Kind.RUN, str(number), None),
            "failing step": (Kind.RUN, str(number), None),
            "sleep": (Kind.SLEEP, None, None),
            "scoped call": (Kind.CALL, "Scoped/answer", b"%d" % number),
            "call": (Kind.CALL, f"Leaf/{number % LEAVES}/answer", b"%d" % number),
            "promise p": (Kind.GET_PROMISE, "promise p", None),
            "promise q": (Kind.GET_PROMISE, "promise q", None),
            "peek p": (Kind.PEEK_PROMISE, "promise p", None),
        }
        command, name, value = commands[kind]
        entry = self._command(command, name, value)
        cid = entry.cid
        assert cid is not None
        if command == Kind.CALL:
            self._calls.append(cid)
        if command in (Kind.RUN, Kind.SLEEP) and not self.machine.has_arrived(cid):
            self.running[cid] = kind
            self.invocation.executed[cid] += 1
        return ModelFuture(self, cid)

    def _command(self, kind: Kind, name: str | None, value: bytes | None) -> Entry:
        cids = 0 if kind == Kind.SEND_SIGNAL else 1
        entry = self.machine.command(kind, name, value, cids=cids)
        if entry.idx > self.machine.known:
            self.written.append(entry)
        return entry

    def completion(self, key: WaitKey) -> Entry | None:
        return self.machine.completed.get(key)

    async def wait(self, keys: tuple[WaitKey, ...], wait_all: bool) -> None:
        reveal = self.machine.reveal_all if wait_all else self.machine.reveal_any
        try:
            while not reveal(keys):
                self.awaited = (keys, wait_all)
                await Blocked()
        except Cancelled:
            for cid in self._calls:
                if cid not in self.machine.completed:
                    self._command(Kind.SEND_SIGNAL, "cancel", None)
            raise
        finally:
            self.awaited = None

    # What drives it.

    def go_on(self) -> None:
        """Let the handler run until it waits for what is not there, or ends."""
        try:
            self._handler.send(None)
        except StopIteration:
            self.machine.finish()
            self.is_done = True

    def close(self) -> None:
        """The attempt is over; nothing of it is left but what is committed."""
        self._handler.close()

    def finish_one(self, cid: int) -> None:
        """A step or a timer is through."""
        kind = self.running.pop(cid)
        if kind == "sleep":
            self._notify(Kind.SLEEP_COMPLETED, cid, None, None)
        elif kind == "step":
            value = msgspec.json.encode(f"run {self.invocation.executed[cid]}")
            self._notify(Kind.RUN_COMPLETED, cid, value, None)
        else:
            self._notify(Kind.RUN_COMPLETED, cid, None, '{"code": 500, "message": "broken"}')

    def take(self, mail: Entry) -> None:
        """Write a piece of mail into the journal."""
        self.taken.append(mail)
        assert mail.cid is not None
        self._notify(mail.kind, mail.cid, mail.value, mail.detail, mail.name)

    def _notify(
        self, kind: int, cid: int, value: bytes | None, detail: str | None, name: str | None = None
    ) -> None:
        self.written.append(self.machine.notification(kind, cid, value, detail, None, name))

    def commit(self) -> list[Entry]:
        """Everything written is on disk; returns it. It is revealed by `arrive`."""
        committed, self.written = self.written, []
        invocation = self.invocation
        assert [entry.idx for entry in committed] == list(
            range(len(invocation.journal) + 1, len(invocation.journal) + len(committed) + 1)
        )
        invocation.journal += committed
        invocation.mailbox = [mail for mail in invocation.mailbox if mail not in self.taken]
        self.taken.clear()
        return committed

    def arrive(self, committed: list[Entry]) -> None:
        """The process learns of the commit."""
        for entry in committed:
            if entry.kind >= NOTIFICATION:
                self.machine.arrived(entry)


class Surroundings:
    """Decides, by a seed, what happens next to one invocation."""

    def __init__(self, program: list[Operation], seed: int) -> None:
        self.numbers = random.Random(seed)
        self.invocation = Journaled(program)
        self.histories: list[list[str]] = []
        """What each attempt saw."""
        self._mailed: set[int] = set()
        self._posted = 0
        self._cancellations = self.numbers.choice([0, 0, 1, 1, 2])
        self._unseen: list[list[Entry]] = []
        self._attempt = self._begin()

    def _begin(self) -> ModelAttempt:
        self._unseen = []
        attempt = ModelAttempt(self.invocation, claim=True)
        self.histories.append(attempt.seen)
        attempt.go_on()
        return attempt

    def run(self) -> list[str]:
        """Let things happen until the program ends and its end is committed; returns what it saw."""
        for _ in range(5_000):
            attempt = self._attempt
            if attempt.is_done and not attempt.written:
                return attempt.seen
            self._happen()
        raise AssertionError("the program does not end")

    def _happen(self) -> None:
        attempt = self._attempt
        actions: list[Any] = [self._commit, self._commit, self._commit, self._post, self._post]
        actions += [self._see] * 3 * bool(self._unseen)
        actions += [self._finish_one] * 2 * bool(attempt.running)
        actions += [self._take] * 2 * bool(self.invocation.mailbox)
        if self.numbers.random() < 0.05:
            actions = [self._crash]
        elif self.numbers.random() < 0.3 and self._is_idle():
            actions = [self._crash]  # a suspension: all is committed, and it comes back later
        self.numbers.choice(actions)()

    def _is_idle(self) -> bool:
        attempt = self._attempt
        return not (attempt.running or attempt.written or self._unseen) and not attempt.is_done

    def _commit(self) -> None:
        if self._attempt.written:
            self._unseen.append(self._attempt.commit())

    def _see(self) -> None:
        self._attempt.arrive(self._unseen.pop(0))
        if not self._attempt.is_done:
            self._attempt.go_on()

    def _finish_one(self) -> None:
        # A timer is known once its command is committed.
        committed = {entry.cid for entry in self.invocation.journal}
        ready = [
            cid
            for cid, kind in self._attempt.running.items()
            if kind != "sleep" or cid in committed
        ]
        if ready:
            self._attempt.finish_one(self.numbers.choice(ready))

    def _take(self) -> None:
        """The mailbox is read; an attempt takes what it has not taken, in order."""
        attempt = self._attempt
        for mail in self.invocation.mailbox[: self.numbers.randint(1, 3)]:
            if mail not in attempt.taken:
                attempt.take(mail)

    def _crash(self) -> None:
        if self.numbers.random() < 0.5 and self._attempt.written:
            self._attempt.commit()  # on disk, though nobody was told
        self._attempt.close()
        self._attempt = self._begin()

    def _post(self) -> None:
        """Somebody answers: a callee, a promise, an awakeable, a signal, a cancellation."""
        numbers = self.numbers
        answers: list[tuple[int, int, str | None]] = [
            (entry.kind + NOTIFICATION, entry.cid, None)
            for entry in self.invocation.journal
            if entry.kind in (Kind.CALL, Kind.GET_PROMISE, Kind.PEEK_PROMISE)
            and entry.cid is not None
            and entry.cid not in self._mailed
        ]
        answers += [(Kind.SIGNAL, -number, None) for number in range(17, 24)]
        answers += [
            (Kind.SIGNAL, signal_cid(name), name) for name in ("signal a", "signal b")
        ]  # fmt: skip
        if self._cancellations and numbers.random() < 0.1:
            self._cancellations -= 1
            answers = [(Kind.SIGNAL, CANCEL, None)]
        kind, cid, name = numbers.choice(answers)
        self._mailed.add(cid)
        self._posted += 1
        value: bytes | None = msgspec.json.encode(f"answer {numbers.randint(0, 99)}")
        detail = None
        if numbers.random() < 0.2:
            value, detail = None, '{"code": 500, "message": "refused"}'
        self.invocation.mailbox.append(Entry(-self._posted, kind, cid, name, value, None, detail))


def replay(program: list[Operation], journal: list[Entry]) -> tuple[list[str], list[Entry]]:
    """What a program sees by its journal alone, and what it would write on top of it."""
    attempt = ModelAttempt(Journaled(program, list(journal)), claim=False)
    attempt.go_on()
    attempt.close()
    return attempt.seen, attempt.written
