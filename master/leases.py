"""Who holds what: leases and the sessions that they are bound to. In memory only, and able to undo a turn."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from master.ready import Entry


class Held(NamedTuple):
    """A lease that is out."""

    entry: Entry
    token: int
    session: Session
    since: float
    """Monotonic seconds."""


Progress = tuple[float, float, str]
"""Of a running task: how much is done, of how much (0: not told), and a note."""


@dataclass(eq=False, slots=True)
class Session:
    """A worker, as long as it is heard of."""

    name: str
    deadline: float
    """Monotonic seconds after which it counts as lost."""
    seen: float
    connection: object = None
    """On which it leases; when that closes, its leases come back."""
    info: dict[str, Any] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    stop: dict[str, float] = field(default_factory=dict)
    """Cancelled while it held them; told at its heartbeats until then (monotonic s)."""
    progress: dict[str, Progress] = field(default_factory=dict)
    """Of tasks that it holds, as last told."""
    alone: str = ""
    """A task that it may hold only alone (see `master.engine.SUSPECT_AFTER`)."""

    @property
    def draining(self) -> bool:
        """Whether it takes no more leases."""
        return bool(self.info.get("draining"))


class Leases:
    """All leases that are out and all sessions."""

    def __init__(self, lease_time: float) -> None:
        self.lease_time = lease_time
        self.sessions: dict[str, Session] = {}
        self.seqs: set[int] = set()
        self._held: dict[str, Held] = {}
        self._journal: list[tuple[str, Held | None]] = []
        # Tokens of an earlier life of the master must not fit: it starts anywhere in 62 bits.
        self._tokens = itertools.count(secrets.randbits(62))

    def __len__(self) -> int:
        return len(self._held)

    def get(self, task_id: str) -> Held | None:
        """The lease of a task, if it is out."""
        return self._held.get(task_id)

    def all(self) -> list[Held]:
        """All leases that are out, oldest first."""
        return sorted(self._held.values(), key=lambda held: held.since)

    def session(self, name: str, heard: float) -> Session:
        """The session of this name, made at its first word; hearing of it puts off its deadline. ``heard``: monotonic s."""
        session = self.sessions.get(name)
        if session is None:
            session = self.sessions[name] = Session(name, 0.0, heard)
        session.seen = max(session.seen, heard)
        session.deadline = session.seen + self.lease_time
        return session

    def lend(self, entry: Entry, session: Session, now: float) -> int:
        """Note that ``session`` holds the task from ``now`` (monotonic s) on; returns the lease's token."""
        token = next(self._tokens)
        self._journal.append((entry.id, self._place(entry.id, Held(entry, token, session, now))))
        return token

    def take_back(self, task_id: str) -> Held | None:
        """End a lease; returns what it was, None when the task was not leased."""
        held = self._place(task_id, None)
        if held is not None:
            self._journal.append((task_id, held))
        return held

    def held_by(self, session: Session) -> Iterator[Held]:
        """All leases of a session, oldest task first."""
        return iter(sorted((self._held[task_id] for task_id in session.ids), key=lambda held: held.entry.seq))

    def undo(self) -> None:
        """Take back every change since the last `keep`; a lease of a session that is gone stays ended."""
        for task_id, before in reversed(self._journal):
            if before is not None and self.sessions.get(before.session.name) is not before.session:
                before = None
            self._place(task_id, before)
        self._journal.clear()

    def keep(self) -> None:
        """Make the changes since the last `keep` final."""
        self._journal.clear()

    def _place(self, task_id: str, held: Held | None) -> Held | None:
        before = self._held.pop(task_id, None)
        if before is not None:
            session = before.session
            session.ids.discard(task_id)
            session.progress.pop(task_id, None)
            self.seqs.discard(before.entry.seq)
        if held is not None:
            self._held[task_id] = held
            held.session.ids.add(task_id)
            self.seqs.add(held.entry.seq)
        return before
