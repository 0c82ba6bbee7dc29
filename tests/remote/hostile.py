"""An endpoint that does everything that an endpoint must not: for each way a handler."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections import Counter
from collections.abc import Callable
from time import time
from typing import Any, ClassVar, Final

from h2.errors import ErrorCodes
from h2.exceptions import H2Error

from howdah.remote.wire import CLASSES, HEADER, Type, encode, frame
from support.endpoints import Peer

MEDIA_TYPE: Final = "application/vnd.restate.invocation.v6"
MANIFEST_TYPE: Final = "application/vnd.restate.endpointmanifest.v4+json"
ABORT_MS: Final = 400
ATTEMPTS: Final = 2
IN_AN_HOUR: Final = int(time() + 3600) * 1000


def message(number: Type, **facts: Any) -> bytes:
    """A message of the protocol with these fields."""
    return encode(number, CLASSES[_CLASSES[number]](**facts))


_CLASSES: Final = {
    Type.START: "Start",
    Type.SUSPENSION: "Suspension",
    Type.ERROR: "Error",
    Type.END: "End",
    Type.PROPOSE_RUN_COMPLETION: "ProposeRunCompletion",
    Type.OUTPUT: "Output",
    Type.RUN: "Run",
    Type.SLEEP: "Sleep",
    Type.CALL: "Call",
    Type.ONE_WAY_CALL: "OneWayCall",
    Type.SET_STATE: "SetState",
    Type.GET_LAZY_STATE: "GetLazyState",
    Type.GET_PROMISE: "GetPromise",
    Type.SEND_SIGNAL: "SendSignal",
    Type.COMPLETE_AWAKEABLE: "CompleteAwakeable",
    Type.ATTACH_INVOCATION: "AttachInvocation",
}


def run(cid: int) -> bytes:
    return message(Type.RUN, result_completion_id=cid)


def proposal(cid: int) -> bytes:
    return message(Type.PROPOSE_RUN_COMPLETION, result_completion_id=cid, value=b"1")


def sleep(cid: int, until: int = 1) -> bytes:
    return message(Type.SLEEP, result_completion_id=cid, wake_up_time=until)


def call(service: str, handler: str, key: str = "", **facts: Any) -> bytes:
    facts = {"result_completion_id": 2, "invocation_id_notification_idx": 1, **facts}
    return message(Type.CALL, service_name=service, handler_name=handler, key=key, **facts)


def suspension(*cids: int) -> bytes:
    return message(Type.SUSPENSION, waiting_completions=list(cids))


NOBODY: Final = "01936f5e-0000-7000-8000-000000000000"
LIES: Final[dict[str, tuple[str, bytes]]] = {
    "is_no_message": ("RT0003", b"I am no message, but a line of text."),
    "is_of_no_type": ("RT0012", frame(0x1234, b"")),
    "is_the_runtimes": ("RT0012", message(Type.START, id=b"1", known_entries=1)),
    "is_cut": ("RT0010", run(1)[:-1]),
    "is_no_protobuf": ("RT0012", frame(Type.RUN, b"\xff\xff\xff")),
    "ends_in_the_middle": ("RT0010", run(1)),
    "ends_without_output": ("RT0012", message(Type.END)),
    "uses_an_id_twice": ("RT0012", run(1) + sleep(1)),
    "uses_an_id_of_a_call_twice": ("RT0012", call("Hostile", "is_cut") + run(1)),
    "has_no_id": ("RT0012", run(0)),
    "has_a_huge_id": ("RT0012", run((1 << 32) - 1)),
    "answers_nothing": ("RT0012", proposal(1)),
    "answers_twice": ("RT0012", run(1) + proposal(1) + proposal(1)),
    "answers_for_the_clock": ("RT0012", sleep(1, IN_AN_HOUR) + proposal(1)),
    "answers_for_a_callee": ("RT0012", call("Hostile", "is_cut") + proposal(2)),
    "waits_for_nothing": ("RT0012", suspension()),
    "waits_for_what_nobody_asked": ("RT0012", run(1) + suspension(7)),
    "waits_for_no_signal": ("RT0012", message(Type.SUSPENSION, waiting_signals=[0])),
    "sleeps_for_ever": ("RT0017", sleep(1, (1 << 64) - 1)),
    "sends_into_eternity": (
        "RT0017",
        message(
            Type.ONE_WAY_CALL, service_name="Hostile", handler_name="is_cut",
            invoke_time=(1 << 64) - 1, invocation_id_notification_idx=1,
        ),
    ),
    "writes_state_without_a_key": ("RT0017", message(Type.SET_STATE, key=b"a")),
    "reads_state_without_a_key": (
        "RT0017", message(Type.GET_LAZY_STATE, key=b"a", result_completion_id=1),
    ),
    "has_a_promise_and_no_workflow": (
        "RT0017", message(Type.GET_PROMISE, key="a", result_completion_id=1),
    ),
    "calls_nobody": ("RT0018", call("Nobody", "home")),
    "calls_with_a_key_too_many": ("RT0017", call("Hostile", "is_cut", "key")),
    "calls_without_an_idempotency_key": (
        "RT0017", call("Hostile", "is_cut", idempotency_key=""),
    ),
    "attaches_to_no_id": (
        "RT0017",
        message(Type.ATTACH_INVOCATION, invocation_id="me", result_completion_id=1),
    ),
    "signals_no_number": ("RT0012", message(Type.SEND_SIGNAL, target_invocation_id=NOBODY, idx=0)),
    "signals_a_name_by_number": (
        "RT0012", message(Type.SEND_SIGNAL, target_invocation_id=NOBODY, idx=(1 << 32) - 1),
    ),
    "completes_no_awakeable": (
        "RT0017", message(Type.COMPLETE_AWAKEABLE, awakeable_id="sign_1none"),
    ),
    "keeps_too_much": ("RT0003", HEADER.pack(Type.OUTPUT, 0, 1 << 31)),
}  # fmt: skip
"""What is said, and the code of the failure that it must be."""


class Hostile(Peer):
    """Serves its manifest as it should be, and nothing else.

    Attributes:
        said: Bytes of floods, by the invocation that they are said to.
    """

    said: ClassVar[Counter[str]] = Counter()

    def on_request(self, stream_id: int) -> None:
        path = self.requests[stream_id][":path"]
        if path == "/discover":
            self.answer(stream_id, content_type=MANIFEST_TYPE)
            self.h2.send_data(stream_id, json.dumps(_manifest()).encode(), end_stream=True)
            return
        name = path.rsplit("/", 1)[-1]
        if name in LIES:
            self.speak(stream_id)
            self.h2.send_data(stream_id, LIES[name][1], end_stream=True)
        else:
            (FLOODS.get(name) or WAYS[name][1])(self, stream_id)

    def on_request_end(self, stream_id: int) -> None:
        """A hostile endpoint does not care."""

    def speak(self, stream_id: int) -> None:
        self.answer(stream_id, content_type=MEDIA_TYPE)

    def keep_saying(
        self, stream_id: int, more: Callable[[], bytes], seconds: float, *, at_once: bool
    ) -> None:
        """Say what `more` gives again and again: one piece, or as many as are heard at once."""
        id_, data = self.requests[stream_id]["x-restate-invocation-id"], more()

        def say() -> None:
            nonlocal data
            try:
                while self.h2.local_flow_control_window(stream_id) >= len(data):
                    self.h2.send_data(stream_id, data)
                    self.said[id_] += len(data)
                    data = more()
                    if not at_once:
                        break
                self.flush()
            except H2Error:
                return
            if not self.transport.is_closing():
                asyncio.get_running_loop().call_later(seconds, say)

        say()


def _manifest() -> dict[str, Any]:
    return {
        "protocolMode": "BIDI_STREAM",
        "minProtocolVersion": 5,
        "maxProtocolVersion": 7,
        "services": [
            {
                "name": "Hostile",
                "ty": "SERVICE",
                "handlers": [{"name": name} for name in (*LIES, *WAYS, *FLOODS)],
                "inactivityTimeout": 100,
                "abortTimeout": ABORT_MS,
                "retryPolicyInitialInterval": 1,
                "retryPolicyMaxAttempts": ATTEMPTS,
                "retryPolicyOnMaxAttempts": "PAUSE",
            }
        ],
    }


def _answer(number: int) -> Callable[[Hostile, int], None]:
    return lambda peer, stream_id: peer.answer(stream_id, status=number)


def _speak_json(peer: Hostile, stream_id: int) -> None:
    peer.answer(stream_id, content_type="application/json")
    peer.h2.send_data(stream_id, b"{}", end_stream=True)


def _hang(peer: Hostile, stream_id: int) -> None:
    """Say nothing at all."""


def _begin_and_hang(peer: Hostile, stream_id: int) -> None:
    peer.speak(stream_id)
    peer.h2.send_data(stream_id, run(1))


def _trickle(peer: Hostile, stream_id: int) -> None:
    peer.speak(stream_id)
    peer.h2.send_data(stream_id, HEADER.pack(Type.OUTPUT, 0, 1 << 24))
    peer.keep_saying(stream_id, lambda: b"\x00", 0.01, at_once=False)


def _reset(peer: Hostile, stream_id: int) -> None:
    peer.h2.reset_stream(stream_id, ErrorCodes.INTERNAL_ERROR)


def _reset_in_the_middle(peer: Hostile, stream_id: int) -> None:
    peer.speak(stream_id)
    peer.h2.send_data(stream_id, run(1))
    peer.h2.reset_stream(stream_id, ErrorCodes.CANCEL)


def _hang_up(peer: Hostile, stream_id: int) -> None:
    peer.speak(stream_id)
    peer.flush()
    peer.transport.abort()


def _go_away(peer: Hostile, stream_id: int) -> None:
    peer.speak(stream_id)
    peer.h2.close_connection(ErrorCodes.ENHANCE_YOUR_CALM)
    peer.flush()
    peer.transport.close()


def _break_http(peer: Hostile, stream_id: int) -> None:
    peer.flush()
    peer.transport.write(b"I do not speak HTTP/2 any more. " * 50)


WAYS: Final[dict[str, tuple[str, Callable[[Hostile, int], None]]]] = {
    "is_not_there": ("RT0012", _answer(404)),
    "is_broken": ("RT0012", _answer(500)),
    "is_overloaded": ("RT0010", _answer(502)),
    "takes_no_such_version": ("RT0015", _answer(415)),
    "speaks_json": ("RT0012", _speak_json),
    "hangs": ("RT0001", _hang),
    "begins_and_hangs": ("RT0001", _begin_and_hang),
    "trickles": ("RT0001", _trickle),
    "resets": ("RT0010", _reset),
    "resets_in_the_middle": ("RT0010", _reset_in_the_middle),
    "hangs_up": ("RT0010", _hang_up),
    "goes_away": ("RT0010", _go_away),
    "breaks_http": ("RT0010", _break_http),
}
"""What is done, and the code of the failure that it must be."""


def _flood(more: Callable[[int], bytes]) -> Callable[[Hostile, int], None]:
    def flood(peer: Hostile, stream_id: int) -> None:
        numbers = itertools.count()
        peer.speak(stream_id)
        peer.keep_saying(stream_id, lambda: more(next(numbers)), 0.002, at_once=True)

    return flood


FLOODS: Final[dict[str, Callable[[Hostile, int], None]]] = {
    "floods_with_steps": _flood(lambda n: b"".join(map(run, range(n * 500 + 1, n * 500 + 501)))),
    "floods_with_words": _flood(lambda n: frame(Type.AWAITING_ON, b"") * 1500),
    "floods_with_values": _flood(
        lambda n: message(Type.RUN, result_completion_id=n + 1, name="x" * 16_000)
    ),
    "floods_with_one_value": _flood(
        lambda n: b"\x00" * 16_000 if n else HEADER.pack(Type.OUTPUT, 0, 1 << 24)
    ),
}
"""What goes on and on; nothing of it is against the rules."""
