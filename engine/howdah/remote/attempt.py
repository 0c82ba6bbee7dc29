"""One attempt of an invocation whose handler runs elsewhere: one HTTP exchange with its deployment.

The endpoint gets the journal, then sends commands; each is stored with its effects in one commit, and
only then what came of it goes back. The same lane, the same mailbox and the same leases as for
handlers in this process: a journal looks the same whoever wrote it.

Source: the service protocol's versions 5 to 7.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

import msgspec

from howdah.errors import InvalidId, RemoteFailure, UnknownTarget
from howdah.ids import parse_awakeable_id, parse_id, uuid7
from howdah.limits import NoPlace, why_no_place
from howdah.machine.entries import CANCEL, NAMED_FIRST, NOTIFICATION, Entry, Kind, signal_cid
from howdah.remote.entries import (
    COMMANDS,
    Command,
    failure_json,
    input_message,
    read_command,
    to_wire,
)
from howdah.remote.futures import TooDeep, Tree, Wait, read_future, read_lists
from howdah.remote.ledger import Ledger, check_signal
from howdah.remote.versions import MARK, UNMARKED, VersionMismatch, choose_version, recorded_version
from howdah.remote.wire import (
    ACK_REQUESTED,
    CLASSES,
    Decoder,
    MessageTooLarge,
    ProtocolViolation,
    Type,
    encode,
    parse,
)
from howdah.store.registry import HandlerRow
from howdah.store.units import Ask, Mail, NewInvocation, Outcome, Record, Unit
from howdah.store.units import Final as End
from howdah.worker.attempt import Attempt
from howdah.worker.failures import failed_outcome
from howdah.worker.showing import Awaited

if TYPE_CHECKING:
    from datetime import datetime

    from howdah.remote.deployments import Deployment, RemoteHandler
    from howdah.remote.exchange import Endpoint, Exchange
    from howdah.worker.engine import Engine

BIDIRECTIONAL: Final = "BIDI_STREAM"
CONTENT_TYPE: Final = "application/vnd.restate.invocation.v"
DRAIN_SECONDS: Final = 5.0
"""How long an endpoint may take to end its response after it has said its last word."""
ENVELOPE_BYTES: Final = 64 * 1024
"""What a message may hold beside its value."""
UNCOMMITTED_BYTES_MAX: Final = 64 * 1024
"""How much is taken of what an endpoint says before that is on disk.

What else it says waits unread, in the window of its stream, and then at the endpoint. One commit takes
about as much without keeping others waiting, and many endpoints may flood at once; a larger value
still passes, alone.
"""
DECODED_BYTES: Final = 16 * 1024
"""How much is cut into messages at once: short ones take several times their length of memory."""
ENTRY_BYTES: Final = 512
"""What an entry costs beside its payload."""
_RECORDED: Final = frozenset({*COMMANDS, Type.PROPOSE_RUN_COMPLETION} - {Type.OUTPUT})
_TOO_MUCH: Final = (
    "the invocation has recorded more than HOWDAH_JOURNAL_BYTES_MAX: divide its work among several"
    " invocations, or raise the limit, which is"
)
_SEED_MASK: Final = (1 << 64) - 1
_RETRY_AFTER_SECONDS_MAX: Final = 3600.0
_STATUS_CODES: Final = {502: "RT0010", 504: "RT0010", 429: "RT0023", 503: "RT0023",
                        415: "RT0015", 413: "RT0019"}  # fmt: skip
_SDK_CODES: Final = {570: "RT0016", 571: "RT0012"}
_ENDINGS: Final[Mapping[int, Literal["pause", "fail"]]] = {1: "pause", 2: "fail"}
"""What an error asks for, from version 7 on; 0, or what nobody knows: to be tried again."""
_WITH_TREES: Final = 7
"""The first version with trees of futures, word of waits, acknowledgements, errors that decide."""
_WITH_SCOPES: Final = 7
"""The first version with scopes and limit keys."""
_WORDS_MAX: Final = 16
"""How often an endpoint may say what it waits for before it must wait for a commit."""
_SHOWN_BYTES_MAX: Final = 16 * 1024
"""How long such a word may be to be shown."""
_ASKS: Final = frozenset(
    {
        Kind.GET_LAZY_STATE, Kind.GET_LAZY_STATE_KEYS, Kind.GET_PROMISE, Kind.PEEK_PROMISE,
        Kind.COMPLETE_PROMISE, Kind.ATTACH, Kind.GET_OUTPUT,
    }
)  # fmt: skip
_WRITES: Final = frozenset({Kind.SET_STATE, Kind.CLEAR_STATE, Kind.CLEAR_ALL_STATE})


class RemoteAttempt(Attempt):
    """Drives one invocation at its deployment."""

    __slots__ = (
        "_awaited",
        "_awaiting_on",
        "_decoder",
        "_deployment",
        "_drain_timer",
        "_earlier",
        "_endpoint",
        "_exchange",
        "_has_ended",
        "_is_half_closed",
        "_journal_bytes",
        "_journal_bytes_max",
        "_ledger",
        "_messages",
        "_output",
        "_problem",
        "_sent_ack_only",
        "_size",
        "_sized",
        "_suspension",
        "_unclocked",
        "_unmarked",
        "_unread",
        "_unsent",
        "_version",
        "_words",
    )

    def __init__(
        self,
        engine: Engine,
        record: Record,
        row: HandlerRow,
        handler: RemoteHandler,
        deployment: Deployment,
        endpoint: Endpoint,
    ) -> None:
        super().__init__(engine, record, row, handler)
        self._deployment = deployment
        self._endpoint = endpoint
        self._version = 0
        # Whether the next command is the first, and has to say which version it is of.
        self._unmarked = False
        self._decoder = Decoder(engine.options.value_bytes_max + ENVELOPE_BYTES)
        self._exchange: Exchange | None = None
        self._drain_timer: asyncio.TimerHandle | None = None
        self._is_half_closed = (
            deployment.protocol_type != BIDIRECTIONAL or not self.inactivity_seconds
        )
        self._has_ended = False
        self._ledger = Ledger(record.journal)
        self._messages: deque[tuple[int, int, bytes]] = deque()
        self._unread = bytearray()
        self._problem: tuple[str, str] | None = None
        # Bytes taken that are not on disk; of these, what was taken before the unit that fills now.
        self._size = 0
        self._earlier = 0
        self._sized: Unit | None = None
        self._journal_bytes = sum(map(_bytes_of, record.journal))
        self._journal_bytes_max = engine.options.journal_bytes_max
        self._output: Command | None = None
        self._suspension: Tree | None = None
        # What it waits for, as it said last, and as it was read for those who look.
        self._awaiting_on: bytes | None = None
        self._awaited: Awaited | None = None
        self._words = 0
        self._unclocked: set[int] = set()
        self._unsent: Counter[int] = Counter()  # signals may come more than once
        self._sent_ack_only: set[int] = set()

    # Life.

    def _start(self) -> None:
        record, row = self.record, self.row
        if not self._choose_version():
            return
        media_type = f"{CONTENT_TYPE}{self._version}"
        headers = [
            ("content-type", media_type),
            ("accept", media_type),
            ("x-restate-invocation-id", str(self.id)),
        ]
        if self.key is not None:
            headers.append(("x-restate-service-key", quote(self.key, safe="")))
        body = b"".join(
            [
                self._start_message(),
                input_message(record.headers, record.input),
                *(to_wire(entry) for entry in record.journal),
            ]
        )
        for entry in record.journal:
            if entry.kind == Kind.SLEEP and entry.cid is not None:
                self._go_on_sleeping(entry.cid)
        # The endpoint has it from here on.
        record.journal = []
        self.machine.forget()
        self._exchange = self._endpoint.open(
            f"/invoke/{row.service}/{row.name}",
            headers,
            body,
            end=self._is_half_closed,
            listener=self,
        )

    def _choose_version(self) -> bool:
        """Choose the version of the protocol; False: there is none, and the attempt has failed."""
        deployment = self._deployment
        recorded = recorded_version(self.record.journal)
        try:
            self._version = choose_version(
                recorded,
                deployment.min_protocol_version,
                deployment.max_protocol_version,
                self.engine.options.remote_protocol_max,
            )
        except VersionMismatch as problem:
            self._refuse(problem.code, str(problem))
            return False
        self._unmarked = recorded is None and self._version != UNMARKED
        return True

    def _start_message(self) -> bytes:
        record = self.record
        seed = (record.seed or self.id).int
        start = CLASSES["Start"](
            id=self.id.bytes,
            debug_id=str(self.id),
            known_entries=len(record.journal) + 1,
            partial_state=self.is_partial or self.key is None,
            retry_count=record.failures,
            duration=record.failing_ms,
            random_seed=(seed ^ seed >> 64) & _SEED_MASK,
        )
        if self._version >= _WITH_TREES and record.idempotency_key:
            start.idempotency_key = record.idempotency_key
        if self._version >= _WITH_SCOPES and record.scope is not None:
            start.scope = record.scope
            if record.limit_key is not None:
                start.limit_key = record.limit_key
        if self.key is not None:
            start.key = self.key
            for name, value in self.state.items():
                start.state_map.add(key=name.encode(), value=value)
        return encode(Type.START, start)

    def _go_on_sleeping(self, cid: int) -> None:
        if self.machine.has_arrived(cid):
            return
        remaining = (self.sleeps[cid] - self.engine.database_now()).total_seconds()
        if remaining <= 0:
            self._timer_due(cid)
        else:
            self._start_timer(cid, remaining)

    def _close(self, reason: BaseException) -> None:
        super()._close(reason)
        self._messages.clear()
        self._unread.clear()
        exchange = self._exchange
        if exchange is None:
            return
        if not self._has_ended:
            self._exchange = None
            exchange.reset()
            return
        exchange.release()
        if not self._is_half_closed:
            self._is_half_closed = True
            exchange.end()
        if self._drain_timer is None:
            loop = asyncio.get_running_loop()
            self._drain_timer = loop.call_later(DRAIN_SECONDS, exchange.reset)

    def _interrupt(self, reason: BaseException) -> None:
        exchange = self._exchange
        if exchange is not None and not self._has_ended:
            self._exchange = None
            exchange.reset()

    def _is_done(self) -> bool:
        """Whether nothing that the endpoint says counts any more."""
        return self._is_over or self._finishing is not None

    # What the endpoint says.

    def on_head(self, status: int, headers: Mapping[str, str]) -> None:
        """The response begins."""
        if self._is_done():
            return
        if status == 200:
            if headers.get("content-type") == f"{CONTENT_TYPE}{self._version}":
                return
            self._refuse("RT0012", f"it answered with content-type {headers.get('content-type')!r}")
            return
        delay = None
        if status in (429, 503):
            delay = _retry_after(headers.get("retry-after"))
        self._refuse(
            _STATUS_CODES.get(status, "RT0012"), f"it answered with status {status}", delay
        )

    def on_data(self, data: bytes) -> None:
        """Messages, in whole or in part."""
        if self._is_done():
            return
        if self._messages or self._unread:
            self._unread += data
            return
        self._unread += data
        self._go_on()

    def on_end(self) -> None:
        """The response is complete."""
        self._on_over("it ended its response in the middle")

    def on_error(self, error: Exception) -> None:
        """The exchange broke."""
        self._on_over(str(error))

    def _on_over(self, problem: str) -> None:
        """Nothing more comes; what came before still counts."""
        self._exchange = None
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        self._problem = "RT0010", problem
        if not self._is_done():
            self._go_on()

    def _go_on(self) -> None:
        """Do what the endpoint asked for, as far as there is room for it before it is on disk."""
        messages = self._messages
        try:
            while self._size < UNCOMMITTED_BYTES_MAX and (messages or self._decode()):
                if self._has_ended:
                    raise ProtocolViolation("it went on after its last word")
                self.last_tick = self.engine.tick
                self._on_message(*messages.popleft())
                if self._is_done():
                    return
        except MessageTooLarge as error:
            self._refuse("RT0003", str(error))
            return
        except ProtocolViolation as error:
            self._refuse_violation(error)
            return
        self.flush()
        is_behind = bool(messages or self._unread)
        exchange = self._exchange
        if exchange is not None:
            if is_behind:
                exchange.hold()
            else:
                exchange.release()
        elif self._problem is not None and not is_behind and self._suspension is None:
            self._refuse(*self._problem)

    def _decode(self) -> bool:
        """Cut more of what arrived into messages; False: no whole one is there."""
        unread, messages = self._unread, self._messages
        while unread and not messages:
            piece = bytes(unread[:DECODED_BYTES])
            del unread[:DECODED_BYTES]
            messages.extend(self._decoder.feed(piece))
        return bool(messages)

    def _note_committed(self, unit: Unit) -> None:
        """Make room for what was taken into this unit."""
        self._words = 0
        if self.unit is None or unit is self._sized:
            self._size = 0
        else:
            self._size -= self._earlier
        self._earlier = 0

    def _refuse(
        self,
        code: str,
        problem: str,
        delay: timedelta | None = None,
        ending: Literal["pause"] | None = None,
    ) -> None:
        self._fail(
            RemoteFailure(
                f"deployment {self._deployment.name}: {problem}",
                remote_code=code,
                retry_after=delay,
                ending=ending,
            )
        )

    def _refuse_violation(self, error: ProtocolViolation) -> None:
        if isinstance(error, TooDeep):
            # The next attempt would say the same.
            self._refuse("RT0025", str(error), ending="pause")
        else:
            self._refuse("RT0012", str(error))

    def _on_message(self, number: int, flags: int, payload: bytes) -> None:
        self._awaiting_on = None
        if number == Type.AWAITING_ON and self._version >= _WITH_TREES:
            self._on_awaiting(payload)
            if self._words < _WORDS_MAX:
                # Nothing is to be committed for it.
                self._words += 1
                return
        if self._journal_bytes > self._journal_bytes_max and number in _RECORDED:
            self._refuse("RT0003", f"{_TOO_MUCH} {self._journal_bytes_max} bytes")
            return
        unit = self.pending()
        if unit is not self._sized:
            self._sized, self._earlier = unit, self._size
        self._size += len(payload) + ENTRY_BYTES
        if number in COMMANDS:
            self._on_command(read_command(number, payload, self._now_ms()))
        elif number == Type.PROPOSE_RUN_COMPLETION:
            proposal = parse(number, payload)
            cid = proposal.result_completion_id
            self._ledger.propose(cid)
            if flags & ACK_REQUESTED and self._version >= _WITH_TREES:
                self._sent_ack_only.add(cid)
            if proposal.HasField("failure"):
                detail = failure_json(proposal.failure)
                self.notify(Kind.RUN_COMPLETED, cid, None, detail)
            else:
                self.notify(Kind.RUN_COMPLETED, cid, proposal.value, None)
        elif number == Type.SUSPENSION:
            self._has_ended = True
            self._on_suspension(self._read_suspension(parse(number, payload)))
        elif number == Type.END:
            self._has_ended = True
            self._on_completed()
        elif number == Type.ERROR:
            self._has_ended = True
            self._on_failed(parse(number, payload))
        elif number != Type.AWAITING_ON:
            raise ProtocolViolation(f"message type 0x{number:04X} is not for a runtime")

    def _now_ms(self) -> float:
        return self.engine.database_now().timestamp() * 1000

    # Commands and their effects.

    def _append(self, command: Command, ref: UUID | None = None) -> Entry:
        if self._unmarked:
            command.facts[MARK] = self._version
            self._unmarked = False
        entry = command.entry(self.machine.next_index(), ref)
        self._journal_bytes += _bytes_of(entry)
        self.pending().entries.append(entry)
        return entry

    def _on_command(self, command: Command) -> None:
        kind, unit = command.kind, self.pending()
        if self._version < _WITH_SCOPES and "scope" in command.facts:
            self._refuse("RT0024", f"version {self._version} of the protocol has no scopes")
            return
        if command.cid is not None:
            self._ledger.ask(command.cid, kind)
        if kind == Kind.OUTPUT:
            # Stored with the end: it is the result only if it is the last.
            self._output = command
        elif kind in (Kind.CALL, Kind.SEND):
            self._on_call(command)
        elif kind == Kind.SLEEP:
            assert command.cid is not None
            if not self._is_near(command):
                return
            self._fresh_sleeps += 1
            self._unclocked.add(command.cid)
            unit.wants_clock = True
            self._append(command)
        elif kind in _WRITES:
            self._on_write(command, unit)
        elif kind in _ASKS:
            self._on_ask(command, unit)
        elif kind in (Kind.SEND_SIGNAL, Kind.COMPLETE_AWAKEABLE):
            self._on_signal(command, unit)
        else:
            self._append(command)

    def _is_near(self, command: Command) -> bool:
        """Whether what is to happen at a time may be so far away; if not, the attempt has failed."""
        longest = self.engine.options.delay_max
        if command.facts.get("delay_ms", 0) <= longest / timedelta(milliseconds=1):
            return True
        self._refuse("RT0017", f"a sleep or a delay is longer than HOWDAH_DELAY_MAX, {longest}")
        return False

    def _on_write(self, command: Command, unit: Unit) -> None:
        if not self.row.is_exclusive:
            self._refuse("RT0017", "a handler that is not exclusive cannot write state")
            return
        self._append(command)
        if command.kind == Kind.CLEAR_ALL_STATE:
            unit.clears_all = True
            unit.writes.clear()
        else:
            assert command.name is not None
            unit.writes[command.name] = command.value

    def _on_ask(self, command: Command, unit: Unit) -> None:
        cid, message, kind = command.cid, command.message, command.kind
        assert cid is not None
        is_of_promise = kind in (Kind.GET_PROMISE, Kind.PEEK_PROMISE, Kind.COMPLETE_PROMISE)
        if self.key is None and kind not in (Kind.ATTACH, Kind.GET_OUTPUT):
            self._refuse("RT0017", f"{self.row.service} has no keys, so no state and no promises")
            return
        if is_of_promise and self.row.service_kind != "workflow":
            self._refuse("RT0017", f"{self.row.service} is no workflow, so it has no promises")
            return
        ask = Ask(kind, cid, command.name)
        if kind == Kind.COMPLETE_PROMISE:
            ask.value = command.value
            if "code" in command.facts:
                ask.detail = failure_json(message.completion_failure)
        elif kind in (Kind.ATTACH, Kind.GET_OUTPUT):
            try:
                self._aim(ask, command)
            except InvalidId as error:
                self._refuse("RT0017", str(error))
                return
            except NoPlace as error:
                self._refuse("RT0024", str(error))
                return
        self._append(command, ask.target)
        self.pending().asks.append(ask)

    def _aim(self, ask: Ask, command: Command) -> None:
        facts = command.facts
        ask.name = None
        if "idempotent" in facts:
            service, key, handler, idempotency_key = facts["idempotent"]
        elif "workflow" in facts:
            service, key = facts["workflow"]
            handler, idempotency_key = self._main_of(service), ""
        else:
            assert command.name is not None
            ask.target = parse_id(command.name)
            return
        row = self._row(service, handler)
        scope = facts.get("scope")
        kind = "workflow" if "workflow" in facts else row.service_kind if row else "service"
        problem = why_no_place(scope, None, kind)
        if problem is not None:
            raise NoPlace(problem)
        key = key or scope or ""
        found = {"handler": row.no if row else 0, "key": key, "idem": idempotency_key}
        ask.detail = msgspec.json.encode(found).decode()

    def _main_of(self, service_name: str) -> str:
        service = self.engine.registry.service(service_name)
        for row in service.handlers.values() if service is not None else ():
            if row.kind == "workflow":
                return row.name
        return ""

    def _row(self, service_name: str, handler_name: str) -> HandlerRow | None:
        service = self.engine.registry.service(service_name)
        return service.handlers.get(handler_name) if service is not None else None

    def _on_signal(self, command: Command, unit: Unit) -> None:
        message, failure = command.message, None
        if "code" in command.facts:
            failure = failure_json(message.failure)
        try:
            if command.kind == Kind.COMPLETE_AWAKEABLE:
                target, number = parse_awakeable_id(message.awakeable_id)
                name, cid = None, -number
            else:
                target = parse_id(message.target_invocation_id)
                name = message.name if message.HasField("name") else None
                if name is None:
                    check_signal(message.idx)
                cid = -message.idx if name is None else signal_cid(name)
        except InvalidId as error:
            self._refuse("RT0017", str(error))
            return
        self._append(command, target)
        self.pending().mail.append(Mail(target, Kind.SIGNAL, cid, command.value, failure, name))

    def _on_call(self, command: Command) -> None:
        message, facts = command.message, command.facts
        row = self._row(message.service_name, message.handler_name)
        target = f"{message.service_name}/{message.handler_name}"
        if row is None:
            self.engine.refresh_registry()
            self._refuse("RT0018", str(UnknownTarget(target=target)))
            return
        key = message.key or None
        if (key is None) != (row.service_kind == "service"):
            self._refuse("RT0017", f"{target} is called {'with' if key else 'without'} a key")
            return
        scope, limit_key = facts.get("scope"), facts.get("limit_key")
        problem = why_no_place(scope, limit_key, row.service_kind)
        if problem is not None:
            self._refuse("RT0024", f"{target} is called in a scope: {problem}")
            return
        idempotency_key = facts.get("idempotency_key")
        if idempotency_key == "" or (key is not None and "\x00" in key):
            self._refuse("RT0017", f"{target} is called with an empty idempotency key or a bad key")
            return
        if row.kind == "workflow":
            idempotency_key = ""
        is_send = command.kind == Kind.SEND
        if not self._is_near(command):
            return
        if facts["id_cid"]:
            self._ledger.ask(facts["id_cid"], Kind.INVOCATION_ID)
        delay = timedelta(milliseconds=facts["delay_ms"]) if facts.get("delay_ms") else None
        callee = uuid7()
        self._append(command, callee)
        headers = facts.get("headers")
        self.pending().calls.append(
            NewInvocation(
                id=callee,
                handler=row,
                key=key,
                is_exclusive=row.is_exclusive,
                cid=None if is_send else command.cid,
                input=message.parameter,
                headers=msgspec.json.encode(headers).decode() if headers else None,
                idempotency_key=idempotency_key,
                delay=delay,
                is_granted=delay is None and scope is None and self.engine.reserve_slot(row),
                waits=False,
                parent_id=self.id,
                scope=scope,
                limit_key=limit_key,
            )
        )
        if facts["id_cid"]:
            self.notify(Kind.INVOCATION_ID, facts["id_cid"], None, None, callee)

    # Ends.

    def _on_completed(self) -> None:
        output = self._output
        if output is None:
            self._refuse("RT0012", "it ended without an output")
            return
        value = output.value or b""
        outcome = Outcome(self.id, "succeeded", value, None, None, None, None, self.row.no)
        if "code" in output.facts:
            outcome = failed_outcome(self.id, self.row.no, failure_json(output.message.failure))
        self._append(output)
        self._complete(self.pending(), outcome)

    def _read_suspension(self, message: Any) -> Tree:
        if self._version < _WITH_TREES:
            return self._checked(read_lists(message))
        return self._checked(read_future(message.awaiting_on))

    def _checked(self, tree: Tree) -> Tree:
        self._ledger.check_awaited(tree.completions, tree.signals)
        if not tree.ids:
            raise ProtocolViolation("it waits for nothing")
        return tree

    def _is_there(self, cid: int) -> bool:
        """Whether what an endpoint waits for is in the journal, or on its way there.

        A cancellation, and signals of a name, may come again: those that the endpoint was told of are
        not what it waits for.
        """
        if self._unsent[cid] > 0:
            return True
        return (cid > 0 or -NAMED_FIRST < cid < CANCEL) and self.machine.has_arrived(cid)

    def _on_suspension(self, tree: Tree) -> None:
        unit = self.pending()
        fresh = {
            entry.cid: timedelta(milliseconds=msgspec.json.decode(entry.detail)["delay_ms"])
            for entry in unit.entries
            if entry.kind == Kind.SLEEP and entry.cid in tree.completions and entry.detail
        }
        if (tree.completions & self._unclocked).difference(fresh):
            # When it is to be woken is known once these sleeps are on disk.
            self._suspension = tree
            self.flush()
            return
        wait = tree.left(self._is_there, self._ledger.has_failed)
        if wait.is_resolved and not tree.ids.isdisjoint(self._unsent):
            # It is there already, only the endpoint was not told of it, or too late.
            unit.final = End("S", status="ready")
        elif not wait.ids:
            self._refuse("RT0012", "it suspended, though it has all that it waits for")
            return
        else:
            run_at, delay = self._wakes_at(wait, fresh)
            unit.final = End(
                "S",
                status="suspended",
                run_at=run_at,
                delay=delay,
                wait_ids=tuple(wait.ids),
                wait_all=wait.is_all,
                wait_tree=wait.tree,
                wait_note=tree.note(wait.ids),
            )
        self._finishing = unit
        self.flush()

    def _wakes_at(
        self, wait: Wait, fresh: Mapping[int, timedelta]
    ) -> tuple[datetime | None, timedelta | None]:
        """When a suspension ends by the clock: the sleeps' times that are known, and those that are not."""
        known = [self.sleeps[cid] for cid in wait.ids if cid in self.sleeps]
        delays = [fresh[cid] for cid in wait.ids if cid in fresh]
        if wait.is_all and len(wait.ids) in (len(known), len(delays)):
            return max(known, default=None), max(delays, default=None)
        return min(known, default=None), min(delays, default=None)

    def _on_awaiting(self, payload: bytes) -> None:
        if not parse(Type.AWAITING_ON, payload).awaiting_on:
            raise ProtocolViolation("it waits for nothing")
        self._awaiting_on = payload
        self._awaited = None
        self.engine.showing.note(self)

    def awaited(self) -> Awaited | None:
        """What the endpoint waits for, for those who look; None: it goes on, or did not say."""
        payload = self._awaiting_on
        if payload is None or len(payload) > _SHOWN_BYTES_MAX or self._is_done():
            return None
        if self._messages or self._unread:
            return None
        if self._awaited is None:
            try:
                tree = self._checked(read_future(parse(Type.AWAITING_ON, payload).awaiting_on))
            except ProtocolViolation as error:
                self._refuse_violation(error)
                return None
            wait = tree.left(self._is_there, self._ledger.has_failed)
            if wait.is_resolved:
                self._awaiting_on = None
                return None
            ids = tuple(sorted(wait.ids))
            self._awaited = Awaited(ids, wait.is_all, wait.tree, tree.note(wait.ids))
        return self._awaited

    def _on_failed(self, message: Any) -> None:
        delay = None
        if message.HasField("next_retry_delay"):
            longest = self.engine.options.delay_max // timedelta(milliseconds=1)
            delay = timedelta(milliseconds=min(message.next_retry_delay, longest))
        name = message.related_command_name if message.HasField("related_command_name") else None
        self._fail(
            RemoteFailure(
                message.message,
                status_code=message.code or 500,
                remote_code=_SDK_CODES.get(message.code, "RT0007"),
                remote_stacktrace=message.stacktrace or None,
                retry_after=delay,
                ending=_ENDINGS.get(message.behavior) if self._version >= _WITH_TREES else None,
            ),
            name or None,
        )

    # What was stored goes back.

    def notify(
        self,
        kind: int,
        cid: int,
        value: bytes | None,
        detail: str | None,
        ref: UUID | None = None,
        name: str | None = None,
    ) -> Unit:
        """As the local one; until it is sent, it is something that a suspension need not wait for."""
        self._unsent[cid] += 1
        if detail is not None:
            self._ledger.note_failed(cid)
        unit = super().notify(kind, cid, value, detail, ref, name)
        self._journal_bytes += _bytes_of(unit.entries[-1])
        return unit

    def on_committed(self, unit: Unit, clock: datetime | None) -> None:
        """Tell the endpoint what is on disk now, in the journal's order."""
        exchange = self._exchange
        if exchange is not None and not self._is_half_closed and not self._has_ended:
            messages = []
            for entry in unit.entries:
                if entry.kind < NOTIFICATION:
                    continue
                assert entry.cid is not None
                self._unsent[entry.cid] -= 1
                if entry.kind == Kind.RUN_COMPLETED and entry.cid in self._sent_ack_only:
                    acknowledgement = CLASSES["ProposeRunCompletionAck"](completion_id=entry.cid)
                    messages.append(encode(Type.PROPOSE_RUN_COMPLETION_ACK, acknowledgement))
                else:
                    messages.append(to_wire(entry))
            if messages:
                self.last_tick = self.engine.tick
                self._awaited = None
                exchange.send(b"".join(messages))
        super().on_committed(unit, clock)
        self._note_committed(unit)
        if self._unclocked:
            self._unclocked.difference_update(self.sleeps)
            if self._suspension is not None and not self._is_done():
                tree, self._suspension = self._suspension, None
                self._on_suspension(tree)
        if (self._messages or self._unread) and not self._is_done():
            self._go_on()

    def _arrive(self, entry: Entry) -> None:
        assert entry.cid is not None
        self.machine.note_arrived(entry.cid)

    def _on_stored(self, unit: Unit, wakes: bool) -> None:
        """Nobody waits here: the endpoint does."""

    @property
    def is_open(self) -> bool:
        """Whether notifications may still be written into the journal from here."""
        return not self._is_over and self._finishing is None and self.machine.closed is None

    def yield_soon(self) -> bool:
        """Ask the endpoint to suspend; False: that was asked already, or it is at its end."""
        if self._is_half_closed or self._has_ended or self._exchange is None:
            return False
        self._is_half_closed = True
        self.last_tick = self.engine.tick
        self._exchange.end()
        return True

    def abort_if_stuck(self, seconds: float) -> None:
        """Ask a silent endpoint to suspend, and later give it up."""
        if self._is_done() or self._messages or self._unread:
            return  # if something is unread, it waits for us and not we for it
        if not self._is_half_closed:
            if seconds >= self.inactivity_seconds:
                self.yield_soon()
            return
        if seconds >= self.abort_seconds:
            self._refuse("RT0001", f"'abort timeout' ({self.abort_seconds:g}s) fired.")


def _bytes_of(entry: Entry) -> int:
    """About what an entry takes of memory and disk."""
    return len(entry.value or b"") + len(entry.name or "") + len(entry.detail or "") + ENTRY_BYTES


def _retry_after(text: str | None) -> timedelta | None:
    if text is None or not text.isdigit():
        return None
    return timedelta(seconds=min(int(text), _RETRY_AFTER_SECONDS_MAX))
