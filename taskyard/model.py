"""What travels between clients, the queue and workers: plain, immutable values.

On the wire each is the plain tuple of its fields (the master unpickles nothing but plain data), so the order of the
fields is part of the protocol: a change here is a change of ``PROTOCOL``. Tasks, leases, outcomes and results travel in
series (see `taskyard.series`).

States of a task, and who moves it on::

            submit                lease                   settle: done
   (client) ------> ready ----------------> leased ------------------------> done
              \\      ^  ^  (worker)          | |  \\
        delay  v     |  \\___________________/  |   \\  settle: failed, no attempts left
             delayed |   released, lease       |    ------------------------> failed    (`retry` moves it to ready)
               \\_____/   expired, worker lost  | settle: failed, attempts left
             due (tick)                        ------> delayed (back-off)
   cancel: ready, delayed or leased -----------------------------------------> cancelled
   expiry: ready or delayed, and no attempt has begun in time ----------------> failed
"""

from __future__ import annotations

from typing import Literal, NamedTuple

PROTOCOL = 4
"""Version of the words on the wire; master and client must agree."""

State = Literal["ready", "leased", "delayed", "done", "failed", "cancelled"]
OPEN_STATES: tuple[State, ...] = ("ready", "leased", "delayed")
END_STATES: tuple[State, ...] = ("done", "failed", "cancelled")
STATES = (*OPEN_STATES, *END_STATES)

BY_CAUSE = -1
"""``Task.retries``: none after an exception, which would come again; two after a cause that took the slot with it."""
RETRIES_AFTER_DEATH = 2


class Task(NamedTuple):
    """One call to make, as a client submits it."""

    id: str
    """Made by the client and unique, so that a submit whose reply was lost can be repeated."""
    job: str
    name: str
    """The registered name of the function."""
    payload: bytes
    """Arguments, encoded (see `taskyard.codec`); the queue never opens it."""
    priority: int = 0
    """Higher goes first; among equals, the older."""
    delay: float = 0.0
    """Seconds from its submit until it may be leased."""
    retries: int = BY_CAUSE
    """How many attempts may follow a failed one; `BY_CAUSE` decides by what went wrong."""
    backoff: float = 1.0
    """Seconds before the first retry; doubled for each one after it, at most `taskyard.model.BACKOFF_LIMIT`."""
    time_limit: float = 0.0
    """Seconds one attempt may run; 0 means no limit."""
    result_ttl: float = 7 * 86400.0
    """Seconds its result is kept once it has ended."""
    expiry: float = 0.0
    """Seconds from its submit within which its first attempt must begin, else it ends as failed; 0: no bound."""


BACKOFF_LIMIT = 300.0


class Lease(NamedTuple):
    """A task lent to a session."""

    id: str
    token: int
    """Names this lease; settling with another token does not count as this lease's outcome."""
    attempt: int
    """1 for the first attempt."""
    name: str
    payload: bytes
    time_limit: float
    job: str


class Outcome(NamedTuple):
    """What a worker says of one lease."""

    id: str
    token: int
    kind: Literal["done", "failed", "released"]
    value: bytes = b""
    """Encoded return value (done) or encoded exception (failed)."""
    cause: str = ""
    """Why it failed: one of `CAUSES`, then what is known, e.g. ``signal: SIGKILL (9)``."""
    delay: float = -1.0
    """Seconds until the next attempt of a failed or released task; negative: by the task's back-off, or at once."""
    final: bool = False
    """Failed: no attempt may follow, whatever the task's retries (see `taskyard.registry.Options.retry_on`)."""


CAUSES = ("exception", "signal", "out of memory", "time limit", "exit", "worker lost", "unknown task", "expired", "cancelled")
"""First words of a cause. All but ``exception``, ``unknown task``, ``expired`` and ``cancelled`` took the slot with them."""


class Result(NamedTuple):
    """The one end of a task."""

    cursor: int
    """Grows with each result of the queue; `results(after=cursor)` goes on behind it."""
    id: str
    state: Literal["done", "failed", "cancelled"]
    value: bytes
    cause: str
    attempts: int
    """Deliveries that were counted: each failed one and the last."""


class Found(NamedTuple):
    """One task as `find` tells it."""

    id: str
    job: str
    name: str
    state: State
    priority: int
    attempts: int
    cause: str
    submitted: float
    """Epoch seconds; 0: to a release that did not keep it."""


class Details(NamedTuple):
    """All that the queue knows of one task, as `show` tells it."""

    id: str
    job: str
    name: str
    state: State
    priority: int
    attempts: int
    cause: str
    submitted: float
    """Epoch seconds, as are the others; 0: not so."""
    due: float
    begin_by: float
    ended: float
    forgotten: float
    """When its result will be deleted."""
    retries: int
    backoff: float
    time_limit: float
    payload: bytes
    """Empty once it is done, or where it was not asked for."""
    value: bytes
    session: str
    """Leased: the worker that has it."""


class Attempt(NamedTuple):
    """One delivery of a task, as `attempts` tells it."""

    id: str
    """Of the task."""
    number: int
    """1 for the first, and again for the first after a `retry`."""
    host: str
    """Empty, as is the session: to a release that did not keep it."""
    session: str
    leased: float
    """Epoch seconds; 0: not known, since its lease was lost."""
    ended: float
    """Epoch seconds; 0: it is under way."""
    kind: Literal["leased", "done", "failed", "cancelled"]
    """``leased``: it is under way."""
    cause: str


class Running(NamedTuple):
    """A leased task, with what it told of its progress (`taskyard.progress`)."""

    id: str
    job: str
    name: str
    session: str
    attempt: int
    seconds: float
    """Since it was leased."""
    done: float
    total: float
    """0: not told."""
    note: str


class JobInfo(NamedTuple):
    """Counts of one job; what is not ended is open."""

    job: str
    created: float
    """Epoch seconds of its first submit; 0: to a release that did not keep it."""
    tasks: int
    done: int
    failed: int
    cancelled: int

    @property
    def open(self) -> int:
        """Tasks without an end."""
        return self.tasks - self.done - self.failed - self.cancelled


Missed = Literal["latest", "all", "skip"]
MISSED: tuple[Missed, ...] = ("latest", "all", "skip")


class Schedule(NamedTuple):
    """A periodic task, as workers announce it with their heartbeat (``info["schedules"]``)."""

    name: str
    """Of the task."""
    spec: str
    """Five fields of cron, or ``every SECONDS``."""
    timezone: str
    """In which cron's fields are read: an IANA name."""
    missed: Missed
    """Which moments are made up for, of those at which there was no master: the latest one, all, none."""
    payload: bytes
    priority: int
    retries: int
    backoff: float
    time_limit: float
    result_ttl: float
    expiry: float


class ScheduleInfo(NamedTuple):
    """A schedule as the queue keeps it."""

    name: str
    spec: str
    timezone: str
    missed: Missed
    job: str
    """Under which its tasks are kept."""
    last: float
    """Epoch seconds of the last moment that was enqueued; 0: none yet."""
    next: float
    """0: never."""


class Orders(NamedTuple):
    """What a worker is told with the answer to its heartbeat."""

    stop: list[str]
    """Its tasks that were cancelled meanwhile."""
    drain: bool
    """Whether it is to take nothing more, to finish what it runs, and to end."""


class WorkerInfo(NamedTuple):
    """One worker as it told of itself, and as the master saw it."""

    session: str
    host: str
    slots: int
    busy: int
    tasks: tuple[str, ...]
    """Names it knows; `taskyard.calls.FUNCTIONS` followed by a Python version: it takes functions by value."""
    leased: int
    silent: float
    """Seconds since its last heartbeat."""
    python: str
    """Its Python's minor version, as in ``3.13``."""
    pid: int
    version: str
    """Of Taskyard."""
    cpu: float
    """Processors that all its processes use together; 0 where it can't know, as the next one."""
    memory: int
    """Bytes that they have resident."""
    started: float
    """Epoch seconds."""
    left: float
    """Epoch seconds at which it left or was lost; 0: it is alive."""
    lost: bool
    draining: bool
    """It takes nothing more, or is being told so."""


class Sample(NamedTuple):
    """What the queue did in a stretch of time. Where there is no sample nothing has changed since the one before."""

    at: float
    """Epoch seconds of its end."""
    seconds: float
    """Its length."""
    ready: int
    """At its end, as the next three."""
    leased: int
    delayed: int
    workers: int
    submitted: int
    """Within it, as all that follow."""
    done: int
    failed: int
    cancelled: int
    wait: tuple[int, ...]
    """Attempts by how long their task was ready until it was lent: counts by bucket of `taskyard.histogram`."""
    run: tuple[int, ...]
    """The same by how long they ran, as far as workers told."""


class Kind(NamedTuple):
    """What was since the master's start of all tasks of a name."""

    name: str
    submitted: int
    done: int
    failed: int
    cancelled: int
    attempts_failed: int
    """Also those that were tried again."""
    wait: tuple[int, ...]
    """As in `Sample`, and so is ``run``."""
    run: tuple[int, ...]
    wait_seconds: float
    """All together."""
    run_seconds: float
