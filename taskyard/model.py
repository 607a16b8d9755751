"""What travels between clients, the queue and workers: plain, immutable values.

On the wire each is the plain tuple of its fields (the master unpickles nothing but plain data), so the order of the
fields is part of the protocol: a change here is a change of ``PROTOCOL``.

States of a task, and who moves it on::

            submit                lease                   settle: done
   (client) ------> ready ----------------> leased ------------------------> done
              \\      ^  ^  (worker)          | |  \\
        delay  v     |  \\___________________/  |   \\  settle: failed, no attempts left
             delayed |   released, lease       |    ------------------------> failed    (`retry` moves it to ready)
               \\_____/   expired, worker lost  | settle: failed, attempts left
             due (tick)                        ------> delayed (back-off)
   cancel: ready, delayed or leased -----------------------------------------> cancelled
"""

from __future__ import annotations

from typing import Literal, NamedTuple

PROTOCOL = 1
"""Version of the words on the wire; master and client must agree."""

State = Literal["ready", "leased", "delayed", "done", "failed", "cancelled"]
OPEN_STATES: tuple[State, ...] = ("ready", "leased", "delayed")
END_STATES: tuple[State, ...] = ("done", "failed", "cancelled")

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


CAUSES = ("exception", "signal", "out of memory", "time limit", "exit", "worker lost", "unknown task", "cancelled")
"""First words of a cause. All but ``exception``, ``unknown task`` and ``cancelled`` took the slot with them."""


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


class WorkerInfo(NamedTuple):
    """One worker as it told of itself, and as the master saw it."""

    session: str
    host: str
    slots: int
    busy: int
    tasks: tuple[str, ...]
    leased: int
    silent: float
    """Seconds since its last heartbeat."""
