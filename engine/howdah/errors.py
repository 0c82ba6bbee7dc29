"""Every error that howdah raises on purpose, and the two interrupts that are not errors.

```
HowdahError                 has .code, .message, .hint and typed facts
├── UsageError              HD1xxx  the program is wrong; nothing was recorded
│   ├── InvalidName, DuplicateName, InvalidHandler, OutOfBounds, NotAHandler,
│   ├── InvalidId, WrongContext, UnknownTarget, IncompleteWorkflow
│   ├── SerdeError          a value and its bytes do not fit each other
│   ├── EndpointRefused     howdah does not connect there
│   └── InvalidOption       a configuration value, or its name
├── NonDeterminism          HD2001  replay met a different command than the journal's
├── StoreError              HD3xxx  Postgres refused or is away; __cause__ is the driver's error
│   └── StoreUnavailable, LeaseLost, NotFound, Conflict, SchemaOutdated, RegistryBusy
├── TerminalError           HD4001  recorded as the result, never retried
│   └── Cancelled           HD4003
├── RetryableError          HD4002  retried, after `retry_after` if given
│   └── RemoteFailure       HD4004
└── ClientError             HD5xxx  a client's request to the ingress has no result to give
    ├── InvocationFailed    the invocation itself failed, as its handler said
    ├── RequestRefused      the ingress refused the request
    └── NoAnswer, UnexpectedAnswer
Interrupt(BaseException)    control flow, not failure
├── Suspended               nothing to do until something arrives
└── AttemptAbandoned        another attempt owns the invocation
```

A class has one code and one page, `docs/errors/<code>.md`. Constructors take facts; the class writes
the sentence: what happened, what was expected, and (as the hint) what to do next.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Literal
from uuid import UUID


class HowdahError(Exception):
    """The root of everything that howdah raises on purpose.

    Attributes:
        code: The stable name of the condition; `docs/errors/<code>.md` explains it.
        message: What happened and what was expected.
        hint: What to do next, or None.
    """

    code: ClassVar[str] = "HD0000"
    message: str
    hint: str | None

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the code, what happened and the hint."""
        return f"{self.code}: {self.message}" + (f" {self.hint}" if self.hint else "")

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle by state: constructors that take facts by name could not be called again.

        A process pool sends exceptions by pickle, and breaks on one that it cannot rebuild.
        """
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(kind: type[HowdahError], args: tuple[Any, ...]) -> HowdahError:
    error = kind.__new__(kind)
    error.args = args
    return error


# --- HD1xxx: the program is wrong ---------------------------------------------------------------


class UsageError(HowdahError):
    """The program, its configuration or its input is wrong; nothing was recorded. HD1000."""

    code = "HD1000"


class InvalidName(UsageError):
    """A service or a handler has a name that cannot be used. HD1001."""

    code = "HD1001"

    def __init__(self, *, what: str, name: object, expected: str) -> None:
        super().__init__(
            f"{what} cannot be named {name!r}: {expected}.",
            hint="Choose another name, or give one with name=.",
        )
        self.name = name


class DuplicateName(UsageError):
    """Two services, or two handlers of one service, have the same name. HD1002."""

    code = "HD1002"

    def __init__(self, *, what: str, name: str, where: str) -> None:
        super().__init__(
            f"{where} already has a {what} named {name!r}.",
            hint="Rename one of the two: invocations are addressed by these names.",
        )
        self.name = name


class InvalidHandler(UsageError):
    """A function cannot serve as a handler. HD1003."""

    code = "HD1003"

    def __init__(self, *, handler: str, problem: str, hint: str) -> None:
        super().__init__(f"{handler} cannot be a handler: {problem}.", hint=hint)
        self.handler = handler
        self.problem = problem


class OutOfBounds(UsageError):
    """A value lies outside its documented bounds. HD1004."""

    code = "HD1004"

    def __init__(self, *, name: str, value: object, bound: str) -> None:
        super().__init__(f"{name} is {value}, but must be {bound}.")
        self.name = name
        self.value = value
        self.bound = bound


class NotAHandler(UsageError):
    """Something was called or sent to that no service declares as a handler. HD1005."""

    code = "HD1005"

    def __init__(self, *, got: object) -> None:
        name = getattr(got, "__qualname__", None) or repr(got)
        super().__init__(
            f"{name} is not a handler: expected a function decorated with @<service>.handler().",
            hint="Decorate it, with .handler() as the uppermost decorator.",
        )


class InvalidId(UsageError):
    """A text is not an invocation id, or not an awakeable id. HD1006."""

    code = "HD1006"

    def __init__(self, *, text: str, is_awakeable: bool = False) -> None:
        shown = text if len(text) <= 60 else f"{text[:57]}..."
        if is_awakeable:
            what, expected = "an awakeable id", "one such as sign_1AZLwwSs8fU6PUGFyg5QKGwAAABE"
            hint = "Awakeable ids are returned by ctx.awakeable()."
        else:
            what = "an invocation id"
            expected = "a UUID such as 0192f0c1-2b3c-7d4e-8f50-617283940a1b"
            hint = "Ids are returned by a send, and listed in the view howdah.invocations."
        super().__init__(f"{shown!r} is not {what}: expected {expected}.", hint=hint)
        self.text = text


class WrongContext(UsageError):
    """A verb was used where it is not offered. HD1007.

    Such as writing state from a shared handler, or using a context after its handler returned.
    """

    code = "HD1007"

    def __init__(self, *, verb: str, problem: str, hint: str | None = None) -> None:
        super().__init__(f"{verb} cannot be used here: {problem}.", hint=hint)
        self.verb = verb
        self.problem = problem


class UnknownTarget(UsageError):
    """A handler was called that no deployment has registered. HD1008."""

    code = "HD1008"

    def __init__(self, *, target: str) -> None:
        super().__init__(
            f"No deployment has registered {target}.",
            hint="Start a worker that serves it; the call is retried until then.",
        )
        self.target = target


class IncompleteWorkflow(UsageError):
    """A workflow is served that has no main handler. HD1009."""

    code = "HD1009"

    def __init__(self, *, workflow: str) -> None:
        super().__init__(
            f"The workflow {workflow} has no main handler, so there is nothing to run.",
            hint="Declare one: decorate a function with .main().",
        )
        self.workflow = workflow


class SerdeError(UsageError):
    """A value and its bytes do not fit each other. HD1010."""

    code = "HD1010"

    def __init__(
        self,
        *,
        verb: str,
        type_name: str,
        problem: str,
        hint: str | None = None,
    ) -> None:
        super().__init__(f"Cannot {verb} {type_name}: {problem}.", hint=hint)
        self.type_name = type_name
        self.problem = problem


class EndpointRefused(UsageError):
    """howdah does not connect to this address, or not in this way. HD1011.

    Attributes:
        uri: The address, without credentials.
        problem: What is wrong with it.
    """

    code = "HD1011"

    def __init__(self, *, uri: str, problem: str, hint: str | None = None) -> None:
        super().__init__(f"The endpoint {uri} {problem}.", hint=hint)
        self.uri = uri
        self.problem = problem


class InvalidOption(UsageError):
    """A configuration value cannot be used, or its name is not known. HD1020."""

    code = "HD1020"

    def __init__(self, *, name: str, problem: str, hint: str | None = None) -> None:
        super().__init__(f"{name} {problem}.", hint=hint)
        self.name = name
        self.problem = problem


# --- HD2xxx: replay differs from the journal ----------------------------------------------------


class NonDeterminism(HowdahError):
    """Replay met a different command than the one the journal holds. HD2001.

    The journal is unharmed. The attempt fails and is retried by policy.
    """

    code = "HD2001"

    def __init__(self, *, handler: str, entry_index: int, recorded: str, attempted: str) -> None:
        super().__init__(
            f"{handler} took another path than its journal, at entry {entry_index}.\n"
            f"  recorded:  {recorded}\n"
            f"  attempted: {attempted}\n",
            hint="Bring back the code that wrote this journal, and wrap what may differ between "
            "attempts (time, random numbers, reads from outside) in ctx.run().",
        )
        self.handler = handler
        self.entry_index = entry_index
        self.recorded = recorded
        self.attempted = attempted


# --- HD3xxx: the store --------------------------------------------------------------------------


class StoreError(HowdahError):
    """Postgres refused a statement; `__cause__` is the driver's error. HD3000."""

    code = "HD3000"


class StoreUnavailable(StoreError):
    """Postgres cannot be reached now; the same request may succeed later. HD3001."""

    code = "HD3001"

    def __init__(self, *, doing: str, retry_after: timedelta | None = None) -> None:
        super().__init__(
            f"The database went away while {doing}.",
            hint="Try again later; howdah reconnects by itself.",
        )
        self.doing = doing
        self.retry_after = retry_after


class LeaseLost(StoreError):
    """Another attempt owns this invocation; nothing of this one was recorded. HD3002."""

    code = "HD3002"

    def __init__(self, *, invocation_id: UUID, epoch: int) -> None:
        super().__init__(
            f"The attempt {epoch} of invocation {invocation_id} no longer holds its lease.",
            hint="Another worker goes on with it; drop this attempt.",
        )
        self.invocation_id = invocation_id
        self.epoch = epoch


class NotFound(StoreError):
    """The named thing does not exist, or its retention has passed. HD3003."""

    code = "HD3003"

    def __init__(self, *, what: str, name: object) -> None:
        super().__init__(
            f"There is no {what} {name}.",
            hint="It never existed, or its retention has passed.",
        )
        self.what = what
        self.name = name


class Conflict(StoreError):
    """The thing is in a state that does not allow this. HD3004."""

    code = "HD3004"

    def __init__(self, *, what: str, name: object, problem: str) -> None:
        super().__init__(f"The {what} {name} {problem}.")
        self.what = what
        self.name = name
        self.problem = problem


class SchemaOutdated(StoreError):
    """The database has another schema than this version of howdah needs. HD3005."""

    code = "HD3005"

    def __init__(self, *, found: str | None, expected: str) -> None:
        has = f"has schema revision {found}" if found else "has no howdah schema"
        super().__init__(
            f"The database {has}, but this version of howdah needs {expected}.",
            hint="Run `howdah migrate` with the same database URL.",
        )
        self.found = found
        self.expected = expected


class RegistryBusy(StoreError):
    """Another registration is under way, for longer than one waits; nothing was changed. HD3006."""

    code = "HD3006"

    def __init__(self) -> None:
        super().__init__("Another registration is under way.", hint="Try again.")


class RulesRefused(StoreError):
    """Rules of concurrency were not changed, none of them. HD3007.

    `sqlstate` says why: WD025 one is no rule, WD026 one has another version than was expected, WD027
    there would be too many.
    """

    code = "HD3007"

    def __init__(self, message: str, *, sqlstate: str, hint: str | None) -> None:
        super().__init__(message, hint=hint)
        self.sqlstate = sqlstate


# --- HD4xxx: what a handler says about itself ---------------------------------------------------


class TerminalError(HowdahError):
    """End the invocation as failed: recorded as its result, never retried. HD4001.

    Raise it from a handler, or from a function given to `ctx.run`; a caller that awaits the result
    receives an equal one.

    Args:
        message: Shown to the caller.
        status_code: The HTTP status that the ingress answers with; 500 unless given.
        metadata: Facts for the caller, text to text.
    """

    code = "HD4001"

    def __init__(
        self, message: str, status_code: int = 500, metadata: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.metadata = metadata

    def __str__(self) -> str:
        """Return the message as the handler gave it."""
        return self.message


class RetryableError(HowdahError):
    """Fail this attempt and try again, after `retry_after` if given. HD4002.

    Any exception that is not a TerminalError is retried; this one says when. A given
    `retry_after` replaces the policy's delay for this retry and does not count as one of its
    attempts.
    """

    code = "HD4002"

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after

    def __str__(self) -> str:
        """Return the message as the handler gave it."""
        return self.message


class RemoteFailure(RetryableError):
    """An attempt at a remote deployment failed. HD4004.

    Attributes:
        status_code: What the endpoint gave, 500 otherwise.
        remote_code: The condition by the name that the service protocol has for it, RT….
        remote_stacktrace: As the endpoint sent it.
        ending: What is to become of the invocation at once: 'pause' or 'fail'; None: its policy says.
    """

    code = "HD4004"

    def __init__(
        self,
        message: str,
        *,
        remote_code: str,
        status_code: int = 500,
        remote_stacktrace: str | None = None,
        retry_after: timedelta | None = None,
        ending: Literal["pause", "fail"] | None = None,
    ) -> None:
        super().__init__(message, retry_after)
        self.ending = ending
        self.status_code = status_code
        self.remote_code = remote_code
        self.remote_stacktrace = remote_stacktrace


class Cancelled(TerminalError):
    """The invocation was cancelled. HD4003.

    Raised from the verb that the handler waits in, so that it can undo what it did before.
    """

    code = "HD4003"

    def __init__(
        self,
        message: str = "cancelled",
        status_code: int = 409,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message, status_code, metadata)


# --- HD5xxx: what a client learns of its requests -------------------------------------------------


class ClientError(HowdahError):
    """A client's request to the ingress has no result to give. HD5000.

    Attributes:
        source: "invocation" when the invocation failed, "ingress" when the request was refused,
            None when howdah did not answer.
        status_code: The answer's HTTP status, or None without an answer.
        invocation_id: The invocation that the answer names, or None.
        may_have_been_accepted: Whether the request may have taken effect all the same.
    """

    code = "HD5000"
    source: ClassVar[Literal["invocation", "ingress"] | None] = None

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        invocation_id: str | None = None,
        may_have_been_accepted: bool,
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.status_code = status_code
        self.invocation_id = invocation_id
        self.may_have_been_accepted = may_have_been_accepted


class InvocationFailed(ClientError):
    """The invocation ended with a failure, which is its result. HD5001.

    Attributes:
        message: As the handler gave it.
        status_code: As the handler gave it; 500 unless given.
        metadata: What the handler attached, text to text; empty when it attached nothing.
    """

    code = "HD5001"
    source = "invocation"
    status_code: int

    def __init__(
        self,
        *,
        message: str,
        status_code: int,
        invocation_id: str | None,
        metadata: dict[str, str] | None = None,
    ) -> None:
        super().__init__(
            message,
            status_code=status_code,
            invocation_id=invocation_id,
            may_have_been_accepted=True,
        )
        self.metadata = dict(metadata or {})

    def __str__(self) -> str:
        """Return the code, which invocation failed, and what its handler said."""
        which = f"Invocation {self.invocation_id}" if self.invocation_id else "The invocation"
        return f"{self.code}: {which} failed with status {self.status_code}: {self.message}"


class RequestRefused(ClientError):
    """The ingress refused a request. HD5002.

    With a status below 500 nothing was stored.

    Attributes:
        reason: The server's own words.
        retry_after: How long the server asks to wait before another try, or None.
    """

    code = "HD5002"
    source = "ingress"
    status_code: int

    def __init__(
        self,
        *,
        what: str,
        status_code: int,
        reason: str,
        retry_after: timedelta | None = None,
        invocation_id: str | None = None,
        takes_effect: bool,
        is_repeatable: bool,
    ) -> None:
        may_have_been_accepted = takes_effect and status_code >= 500
        super().__init__(
            f"{what} was refused with status {status_code}: {reason.rstrip('.')}.",
            status_code=status_code,
            invocation_id=invocation_id,
            may_have_been_accepted=may_have_been_accepted,
            hint=_how_to_repeat(is_repeatable) if may_have_been_accepted else None,
        )
        self.reason = reason
        self.retry_after = retry_after


class NoAnswer(ClientError):
    """The ingress could not be reached, or did not answer in time. HD5003.

    Attributes:
        reason: What went wrong with the connection.
        is_timeout: Whether a timeout passed.
        tries: How many times the request was tried.
    """

    code = "HD5003"

    def __init__(
        self,
        *,
        what: str,
        base_url: str,
        reason: str,
        is_timeout: bool,
        was_sent: bool,
        takes_effect: bool,
        is_repeatable: bool,
        tries: int = 1,
    ) -> None:
        may_have_been_accepted = was_sent and takes_effect
        if may_have_been_accepted:
            hint = _how_to_repeat(is_repeatable)
        elif was_sent:
            hint = "Ask again; asking changes nothing."
        else:
            hint = "Nothing was sent. Is the server running, and is this its address?"
        tried = f" in {tries} tries" if tries > 1 else ""
        super().__init__(
            f"{what} got no answer from {base_url}{tried}: {reason}.",
            may_have_been_accepted=may_have_been_accepted,
            hint=hint,
        )
        self.reason = reason
        self.is_timeout = is_timeout
        self.tries = tries


class UnexpectedAnswer(ClientError):
    """Something answered that is not howdah's ingress. HD5004.

    Attributes:
        body: The beginning of what it said.
    """

    code = "HD5004"
    status_code: int

    def __init__(
        self,
        *,
        what: str,
        base_url: str,
        status_code: int,
        body: str,
        takes_effect: bool,
        is_repeatable: bool,
    ) -> None:
        super().__init__(
            f"{what} got an answer from {base_url} that is not howdah's: status {status_code},"
            f" {body!r}.",
            status_code=status_code,
            may_have_been_accepted=takes_effect,
            hint="Is this the address of the ingress, or of a proxy whose server is away?"
            + (f" {_how_to_repeat(is_repeatable)}" if takes_effect else ""),
        )
        self.body = body


def _how_to_repeat(is_repeatable: bool) -> str:
    if is_repeatable:
        return "It may have been accepted all the same; repeat it as it is, which is harmless."
    return (
        "It may have been accepted all the same, and goes on then; repeating it may start a second"
        " invocation. Give it an idempotency key, and it can be repeated safely."
    )


# --- control flow -------------------------------------------------------------------------------


class Interrupt(BaseException):
    """Ends an attempt without being a failure of it.

    A BaseException, so that `except Exception` lets it pass. A handler must let it pass too: catch
    `Exception`, never `BaseException`, and clean up in `finally`.
    """


class Suspended(Interrupt):
    """The invocation waits for something and gives its worker slot back until that arrives."""

    def __init__(self) -> None:
        super().__init__(
            "This is not an error: the handler waits for something and is suspended until it "
            "arrives. Let this pass; catch Exception, never BaseException."
        )


class AttemptAbandoned(Interrupt):
    """The attempt is over: its lease is gone, or its worker stops.

    Attributes:
        reason: Why, in words.
    """

    def __init__(self, reason: str = "its lease is gone") -> None:
        super().__init__(
            f"This attempt is over: {reason}. Another attempt goes on with the invocation. "
            "Let this pass; catch Exception, never BaseException."
        )
        self.reason = reason
