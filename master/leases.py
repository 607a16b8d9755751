"""Who holds what: leases and the sessions that they are bound to. In memory only, and able to undo a turn."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from master.ready import Entry

LAST_GONE = 50
"""Workers that have left or were lost and are still told of."""


@dataclass(eq=False, slots=True)
class Held:
    """A lease that is out: one task, or consecutive ones of a series."""

    entry: Entry
    token: int
    session: Session
    since: float
    """Monotonic seconds."""
    at: float
    """The same in epoch seconds."""
    left: int
    """Tasks of it that were not taken back."""


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
    host: str = ""
    """Of what it told of itself, as far as it has."""
    held: dict[int, Held] = field(default_factory=dict)
    """Its leases by their tokens."""
    leased: int = 0
    """Tasks that it holds."""
    stop: dict[str, float] = field(default_factory=dict)
    """Cancelled while it held them; told at its heartbeats until then (monotonic s)."""
    progress: dict[int, Progress] = field(default_factory=dict)
    """Of tasks that it holds, by their seqs, as last told."""
    alone: int = 0
    """Seq of a task that it may hold only alone (see `master.engine.SUSPECT_AFTER`)."""
    drain: bool = False
    """Whether it is to drain; told at its heartbeats."""

    @property
    def draining(self) -> bool:
        """Whether it has said that it takes no more leases."""
        return bool(self.info.get("draining"))


class Gone(NamedTuple):
    """A worker that was here."""

    session: Session
    left: float
    """Epoch seconds."""
    lost: bool
    """Whether it was not heard of, or its connection closed, before it took its leave."""


class Leases:
    """All leases that are out and all sessions."""

    def __init__(self, lease_time: float) -> None:
        self.lease_time = lease_time
        self.sessions: dict[str, Session] = {}
        self.gone: dict[str, Gone] = {}
        """Those of the last `LAST_GONE` workers that have not come back, the latest last."""
        self.by_seq: dict[int, Held] = {}
        """The lease of each task that is out."""
        self.by_token: dict[int, Held] = {}
        self._journal: list[tuple[Held, int, int, bool]] = []  # seqs from, up to; whether they were lent or taken back
        # Tokens of an earlier life of the master must not fit: it starts anywhere in 62 bits.
        self._tokens = itertools.count(secrets.randbits(62))

    def __len__(self) -> int:
        return len(self.by_seq)

    def all(self) -> Iterator[tuple[Held, int]]:
        """Each task that is out, by its seq, with its lease; the oldest lease first."""
        for held in sorted(self.by_token.values(), key=lambda held: held.since):
            for begin, end in self._runs(held):
                yield from ((held, seq) for seq in range(begin, end))

    def session(self, name: str, heard: float) -> Session:
        """The session of this name, made at its first word; hearing of it puts off its deadline. ``heard``: monotonic s."""
        session = self.sessions.get(name)
        if session is None:
            session = self.sessions[name] = Session(name, 0.0, heard)
            session.drain = name in self.gone and self.gone[name].session.drain
        session.seen = max(session.seen, heard)
        session.deadline = session.seen + self.lease_time
        return session

    def end(self, session: Session, wall: float, lost: bool) -> None:
        """Forget a session, but for what is told of a worker that is gone since ``wall`` (epoch s)."""
        del self.sessions[session.name]
        if session.info:
            self.gone.pop(session.name, None)
            self.gone[session.name] = Gone(session, wall, lost)
            if len(self.gone) > LAST_GONE:
                del self.gone[next(iter(self.gone))]

    def lend(self, entry: Entry, session: Session, now: float, wall: float) -> int:
        """Note that ``session`` holds these tasks from ``now`` (monotonic s; ``wall``: epoch s) on; returns the lease's token."""
        held = Held(entry, next(self._tokens), session, now, wall, 0)
        self._place(held, entry.seq, entry.seq + entry.many)
        self._journal.append((held, entry.seq, entry.seq + entry.many, True))
        return held.token

    def take(self, token: int, prefix: str, number: int, many: int) -> Entry | None:
        """End the lease of so many tasks from this number on, if all of them are out under this token; returns them."""
        held = self.by_token.get(token)
        if held is None or held.entry.prefix != prefix:
            return None
        begin = number - held.entry.number
        seq = held.entry.seq + begin
        if not 0 <= begin <= begin + many <= held.entry.many:
            return None
        if held.left < held.entry.many and set(map(self.by_seq.get, range(seq, seq + many))) != {held}:
            return None
        self._take(held, seq, seq + many)
        return held.entry.part(begin, begin + many)

    def take_back(self, seq: int) -> Held | None:
        """End the lease of one task; returns it, None when the task was not leased."""
        held = self.by_seq.get(seq)
        if held is not None:
            self._take(held, seq, seq + 1)
        return held

    def take_all(self, session: Session) -> list[Entry]:
        """End all leases of a session; returns its tasks, the oldest first."""
        taken: list[Entry] = []
        for held in sorted(session.held.values(), key=lambda held: held.entry.seq):
            for begin, end in self._runs(held):
                taken.append(held.entry.part(begin - held.entry.seq, end - held.entry.seq))
                self._take(held, begin, end)
        return taken

    def undo(self) -> None:
        """Take back every change since the last `keep`; a lease of a session that is gone stays ended."""
        for held, begin, end, lent in reversed(self._journal):
            if lent:
                self._remove(held, [seq for seq in range(begin, end) if self.by_seq.get(seq) is held])
            elif self.sessions.get(held.session.name) is held.session:
                self._place(held, begin, end)
        self._journal.clear()

    def keep(self) -> None:
        """Make the changes since the last `keep` final."""
        self._journal.clear()

    def _runs(self, held: Held) -> list[tuple[int, int]]:
        """Ranges of the seqs that are still out under a lease."""
        runs: list[tuple[int, int]] = []
        for seq in range(held.entry.seq, held.entry.seq + held.entry.many):
            if self.by_seq.get(seq) is not held:
                continue
            if runs and runs[-1][1] == seq:
                runs[-1] = (runs[-1][0], seq + 1)
            else:
                runs.append((seq, seq + 1))
        return runs

    def _take(self, held: Held, begin: int, end: int) -> None:
        self._remove(held, range(begin, end))
        self._journal.append((held, begin, end, False))

    def _place(self, held: Held, begin: int, end: int) -> None:
        self.by_seq.update(dict.fromkeys(range(begin, end), held))
        held.left += end - begin
        held.session.leased += end - begin
        self.by_token[held.token] = held.session.held[held.token] = held

    def _remove(self, held: Held, seqs: Sequence[int]) -> None:
        """Forget tasks that are out under this lease."""
        for seq in seqs:
            del self.by_seq[seq]
        session = held.session
        held.left -= len(seqs)
        session.leased -= len(seqs)
        if session.progress:
            for seq in seqs:
                session.progress.pop(seq, None)
        if not held.left:
            self.by_token.pop(held.token, None)
            session.held.pop(held.token, None)
