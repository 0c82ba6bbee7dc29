"""Between the thread of a sync handler and the event loop, where everything else happens.

The engine below is that of async handlers, and nothing of it is called from another thread. A verb
crosses to the loop, where the `LocalContext` does the work, and the thread waits for the answer: one
callback there, and one message back. A step that the thread waits for is executed by that thread
itself.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from threading import get_ident
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from howdah.errors import AttemptAbandoned, Interrupt, UsageError
from howdah.futures import DurableFuture
from howdah.machine.entries import Entry
from howdah.machine.machine import WaitKey
from howdah.worker.local import Step
from howdah.worker.threads import Ended, outcome_of, result_of

if TYPE_CHECKING:
    from howdah.worker.local_attempt import LocalAttempt

logger = logging.getLogger(__name__)

T = TypeVar("T")
_Execution: TypeAlias = tuple[Callable[[], Any], "asyncio.Future[Ended]"]

INTERRUPTS_MAX = 16
"""Verbs that may raise the end of the attempt, such as those in `finally`, before it is reported."""
PAUSE_SECONDS = 0.1
"""How long each further verb takes: a handler that catches everything may call it for ever."""


@dataclass(slots=True)
class Ahead:
    """A step whose first try is under way in the handler's thread; further tries are calls of it."""

    call: Callable[[], Any]
    ended: asyncio.Future[Ended]
    is_taken: bool = False

    def __call__(self) -> Any:
        """Try again."""
        return self.call()


class Bridge:
    """Between the thread of one sync handler and the event loop.

    On the loop it is the attempt's waiter: who is told when what the handler waits for is there.
    """

    __slots__ = (
        "_attempt", "_future", "_ident", "_interrupt", "_interrupts", "_is_in_step", "_keys",
        "_loop", "_replies",
    )  # fmt: skip

    def __init__(self, attempt: LocalAttempt) -> None:
        self._attempt = attempt
        self._loop = asyncio.get_running_loop()
        self._replies: SimpleQueue[tuple[_Execution | None, Ended]] = SimpleQueue()
        self._keys: tuple[WaitKey, ...] = ()
        """What the thread waits for; nothing: it does not."""
        self._future: DurableFuture[Any] | None = None
        """Whose value that is, when it is one."""
        self._ident = 0
        self._is_in_step = False
        self._interrupt: Interrupt | None = None
        self._interrupts = 0

    # In the handler's thread.

    def execute_handler(self, fn: Callable[..., Any], *arguments: Any) -> Any:
        """The handler itself."""
        self._ident = get_ident()
        error: Exception | None = None
        try:
            return fn(*arguments)
        except (Interrupt, BaseExceptionGroup):
            self._interrupt = None
            raise
        except Exception as raised:
            error = raised
            raise
        finally:
            self._ident = 0
            if self._interrupt is not None:
                logger.warning(
                    "a handler caught the end of its attempt; let BaseException pass",
                    extra=self._facts(error),
                )

    def call(self, verb: Callable[..., T], /, *arguments: Any, **named: Any) -> T:
        """Execute a verb on the loop; what it returned."""
        self._post(self._serve_call, functools.partial(verb, *arguments, **named))
        value: T = self._receive()
        return value

    def do(self, verb: Callable[..., None], *arguments: Any) -> None:
        """Execute a verb that returns nothing on the loop, before the next one.

        Once there is nothing left to replay, it can fail only because the attempt is over, which
        the next verb says as well.
        """
        if self._attempt.machine.is_at_end:
            self._post(self._serve_silently, verb, *arguments)
        else:
            self.call(verb, *arguments)

    def value(self, verb: Callable[..., Any], /, *arguments: Any, **named: Any) -> Any:
        """Execute a verb on the loop, and wait for what its future stands for."""
        self._post(self._serve_value, functools.partial(verb, *arguments, **named))
        return self._receive_value()

    def step(self, start: Callable[[Step], DurableFuture[Any]], step: Step) -> Any:
        """Execute a step in this thread, or read its result from the journal.

        With nothing left to replay, and all that the handler was shown on disk, it is certain that the
        step is to be executed now: so that is done while the loop records it, instead of waiting for
        the loop to ask for it.
        """
        attempt = self._attempt
        if step.is_async or not attempt.machine.is_at_end or attempt.steps.must_wait:
            return self.value(start, step)
        ahead = Ahead(step.call, self._loop.create_future())
        self._post(self._serve_value, functools.partial(start, step._replace(call=ahead)))
        self._execute(step.call, ahead.ended)
        return self._receive_value()

    def wait(self, keys: tuple[WaitKey, ...], wait_all: bool) -> None:
        """Return when any (or all) completions are there."""
        self._post(self._serve_wait, keys, wait_all)
        self._receive()

    def completion(self, key: WaitKey) -> Entry:
        """Wait for one completion."""
        attempt = self._attempt
        if attempt.completion(key) is None:
            self.wait((key,), False)
        entry = attempt.completion(key)
        assert entry is not None
        return entry

    def _post(self, serve: Callable[..., None], *arguments: Any) -> None:
        if self._ident != get_ident() or self._is_in_step:
            raise self._misuse()
        if self._interrupt is not None:
            self._raise_again(self._interrupt)
        try:
            self._loop.call_soon_threadsafe(serve, *arguments)
        except RuntimeError:
            raise AttemptAbandoned("this process is stopping") from None

    def _receive(self) -> Any:
        while True:
            step, ended = self._replies.get()
            if step is None:
                break
            self._execute(*step)
        if isinstance(ended[1], Interrupt):
            self._interrupt = ended[1]
        return result_of(ended)

    def _receive_value(self) -> Any:
        future: DurableFuture[Any] = self._receive()
        entry = future._entry()
        assert entry is not None
        return future._decode(entry)

    def _execute(self, action: Callable[[], Any], future: asyncio.Future[Ended]) -> None:
        self._is_in_step = True
        try:
            ended = outcome_of(action)
        finally:
            self._is_in_step = False
        try:
            self._loop.call_soon_threadsafe(_settle, future, ended)
        except RuntimeError:
            raise AttemptAbandoned("this process is stopping") from None

    def _misuse(self) -> UsageError:
        if self._is_in_step and self._ident == get_ident():
            return UsageError(
                "a verb of the context was called inside a step.",
                hint="A step does one thing outside of howdah; call verbs before and after it.",
            )
        return UsageError(
            "a verb was called outside the handler's thread, or after the handler ended.",
            hint="Call verbs in the thread that the handler was called in. For several things at "
            "once, begin them (ctx.begin.run, ctx.begin.service_call) and gather the futures.",
        )

    def _raise_again(self, interrupt: Interrupt) -> None:
        self._interrupts += 1
        if self._interrupts == INTERRUPTS_MAX:
            logger.warning(
                "a handler goes on after the end of its attempt; let BaseException pass",
                extra=self._facts(None),
            )
        if self._interrupts >= INTERRUPTS_MAX:
            time.sleep(PAUSE_SECONDS)
        raise interrupt.with_traceback(None)

    def _facts(self, error: Exception | None) -> dict[str, Any]:
        attempt = self._attempt
        return {
            "invocation_id": str(attempt.id), "service": attempt.row.service,
            "handler": attempt.row.name, "error": None if error is None else repr(error),
        }  # fmt: skip

    # On the loop.

    async def execute(self, action: Callable[[], Any]) -> Any:
        """Let the waiting thread execute a step; its result."""
        if isinstance(action, Ahead) and not action.is_taken:
            action.is_taken = True
            ended = action.ended
        else:
            ended = self._loop.create_future()
            self._replies.put(((action, ended), (None, None)))
        return result_of(await ended)

    def done(self) -> bool:
        """Whether the thread goes on, or was told to."""
        return not self._keys

    def set_result(self, result: None, /) -> None:
        """What the thread waits for is there."""
        self._answer((self._future, None))

    def set_exception(self, exception: BaseException, /) -> None:
        """It will not come, or something else came first."""
        self._answer((None, exception))

    def _answer(self, ended: Ended) -> None:
        self._keys = ()
        self._future = None
        self._attempt.end_wait()
        self._replies.put((None, ended))

    def _serve_silently(self, verb: Callable[..., None], *arguments: Any) -> None:
        try:
            verb(*arguments)
        except Interrupt:
            pass
        except Exception as error:
            # Nobody waits for it; what is not written must not be missing from what comes after.
            self._attempt.fail(error)

    def _serve_call(self, verb: Callable[[], Any]) -> None:
        try:
            self._replies.put((None, (verb(), None)))
        except (Exception, Interrupt) as error:
            self._replies.put((None, (None, error)))

    def _serve_value(self, verb: Callable[[], Any]) -> None:
        try:
            future = self._future = verb()
            if future._entry() is None:
                self._wait((future._key,), False)
            else:
                self._answer((future, None))
        except (Exception, Interrupt) as error:
            self._answer((None, error))

    def _serve_wait(self, keys: tuple[WaitKey, ...], wait_all: bool) -> None:
        try:
            self._wait(keys, wait_all)
        except (Exception, Interrupt) as error:
            self._answer((None, error))

    def _wait(self, keys: tuple[WaitKey, ...], wait_all: bool) -> None:
        attempt = self._attempt
        self._keys = keys
        if attempt.is_there(keys, wait_all):
            self.set_result(None)
        else:
            attempt.begin_wait(keys, wait_all, self)


def _settle(future: asyncio.Future[Ended], ended: Ended) -> None:
    if not future.done():
        future.set_result(ended)
