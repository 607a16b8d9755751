"""The copy of a master that stands by: what others commit is replayed.

The file may be lost. It says up to where in the log it goes, in the transactions themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import time_ns
from typing import Any

from master import sql
from master.replica.entries import Assembly, Claim, Entry, is_claim, lead_of, term_of
from master.replica.log import Log, LogState, Message
from master.replica.snapshots import Gone, Snapshot
from master.store import Store, StoreDamaged
from taskyard.errors import StoreBroken, Unreachable
from taskyard.log import get_logger

TABLES = """
CREATE TABLE IF NOT EXISTS replica (
    applied INTEGER NOT NULL,                 -- place in the log up to which this file goes
    born    TEXT NOT NULL                     -- when that log was made
) STRICT;
CREATE TABLE IF NOT EXISTS replica_lead (     -- who led from which place on
    place INTEGER PRIMARY KEY,
    lead  INTEGER NOT NULL
) STRICT;
"""
KEPT_FILES = 3
"""Of copies that were put aside."""
LEADS = 1000
"""Of which it is known how they began: more than there are before anybody has noticed a difference."""
LOOKS = 3
"""So often a server of NATS that was just elected may lack a snapshot that is there."""
logger = get_logger("master")


def nothing() -> None:
    """What is done between two steps, if nobody wants to look."""


class Follower(Store):
    """A `Store` that replays (`catch_up`) what others have written.

    ``after``: where the log has to end for a queue that one master has kept alone to go on in it, instead of what it had.
    Every method may raise `taskyard.errors.Unreachable` (NATS does not answer).
    """

    def __init__(self, folder: Path, log: Log, after: int = 0) -> None:
        self._log = log
        self._after = after
        self._assembly = Assembly()
        self._distrusted = False
        """Whether the file was put aside, since it differed from the log, and not all of that was replayed since."""
        self._missed = 0
        """How often in a row there was no snapshot."""
        self.is_ahead = False
        """Whether this file knows what the log does not, once `catch_up` has looked: NATS has lost the log or its end, or the
        queue was kept by one master alone until now."""
        self._checked = False
        self._look = nothing
        self._born = ""
        self._own = False
        self.applied = 0
        """Place in the log up to which this file goes."""
        super().__init__(folder)

    @property
    def more(self) -> tuple[int, int] | None:
        """How far this file goes beyond the log: of two the greater one has what the other one has; None: not at all."""
        return self._reach if self.is_ahead else None

    @property
    def reach(self) -> tuple[int, int]:
        """How far this file goes."""
        return self._reach

    def _open(self) -> None:
        try:
            super()._open()
        except StoreDamaged as error:
            self._put_aside(str(error))
            super()._open()

    def _bring_up_to_date(self) -> None:
        # The format follows the log: what masters of an older release write there has to make sense here.
        self._db.execute("PRAGMA synchronous=NORMAL")  # after a power loss it is merely older
        self._db.executescript(TABLES)
        if self.version == 0:  # so that it can be told from a queue of its own before anything is replayed
            self._db.execute("INSERT INTO replica SELECT 0, '' WHERE NOT EXISTS (SELECT * FROM replica)")
        row = self._db.execute("SELECT applied, born FROM replica").fetchone()
        self._own = row is None
        """Whether a master has kept it alone."""
        self.applied, born = row or (0, "")
        self._born = born or self._born
        self._rewind()

    def _rewind(self) -> None:
        self._end = self.applied
        """Place of the last message that was read or written."""
        self._writer = self._lead_at(self.applied)
        """Who wrote that."""
        self._reach = (term_of(self._writer), self.applied)
        self._assembly = Assembly()

    def catch_up(self, look: Callable[[], None] = nothing) -> None:
        """Replay what the log has; ``look`` is called now and then, in some thread, and may raise what ends it.

        Raises `StoreBroken`, also when a newer release leads.
        """
        try:
            self._catch_up(look)
        except StoreDamaged as error:
            self._start_over(str(error), keep=True)
            self._catch_up(look)

    def _catch_up(self, look: Callable[[], None]) -> None:
        self._look = look
        log = self._log.state()
        if not self._checked or self.is_ahead or log.last < self._end or log.born != self._born:
            self._check(log)
        while self._end < log.last:
            look()
            try:
                messages = self._log.read(self._end, log.last)
            except Gone:
                self._load_snapshot(self._first_if_gone(self._end + 1))
                continue
            try:
                self._replay(messages)
            except BaseException:
                self.rollback()
                self._rewind()
                raise
        self._distrusted = False

    def _compare_anew(self) -> None:
        """Compare with the log anew, and replay from where this file goes to."""
        self._checked = False
        self._rewind()

    def _first_if_gone(self, place: int) -> int:
        """Where the log begins, if that is behind a place that could not be read. Raises `Unreachable` if not."""
        first = self._log.state().first
        if first <= place:
            raise Unreachable(f"a server of NATS that is behind has no place {place} of the log yet")
        return first

    def _replay(self, messages: Sequence[Message]) -> None:
        """Until the file is another one."""
        for message in messages:
            # A leader's message is taken only behind one of its own, so that one of another one tells of another history.
            if not is_claim(message.data) and lead_of(message.data) != self._writer:
                self._start_over("the log has another history", keep=True)
                return
            entry = self._assembly.add(message.seq, message.data)
            if entry is not None and not self._apply(entry):
                return
            self._end, self._writer = message.seq, lead_of(message.data)

    def _check(self, log: LogState) -> None:
        """Compare what this file has with what the log has."""
        ahead = False  # others may ask meanwhile: until it is known, what was known counts
        if self._own:
            if log.last != self._after and self._after:
                raise StoreBroken("a master has led meanwhile, and the queue has gone on: begin again")
            if log.last != self._after:
                raise StoreBroken(
                    f"{self.path} holds a queue of its own, while the log on NATS has one already: set MASTER_DATA to another"
                    " folder, or the queue's name in TASKYARD_URL to another one (nats://HOST/NAME)"
                )
            ahead = True
        elif self.applied and not self._is_of(log):
            self._start_over("the log has another history", keep=True)
        elif self.applied > log.last:
            ahead = True
        self._rewind()
        if ahead:
            self._writer = (self._writer_of(log.last) or 0) if self._after else self._lead_at(log.last)
            self._end = log.last
            if not (self.is_ahead or self._after):
                told = {"log": log.last, "store": self.applied}
                logger.warning("the log on NATS lacks what this master has: it is to have it again", **told)
        self._checked, self._born, self.is_ahead = True, log.born, ahead

    def _is_of(self, log: LogState) -> bool:
        """Whether the log's history is that of this file, as far as both go."""
        place = min(self.applied, log.last)
        if log.last == 0:
            return True  # it begins anew
        if self._born not in ("", log.born):
            return False
        if place < log.first:
            return True  # a snapshot is to be loaded
        return self._lead_at(place) == self._writer_of(place)

    def _writer_of(self, place: int) -> int | None:
        """Who wrote what the log has there; None: it begins later."""
        try:
            (message,) = self._log.read(place - 1, place)
        except Gone:
            self._first_if_gone(place)
            return None
        return lead_of(message.data)

    def _lead_at(self, place: int) -> int:
        """Who led when this place was written, as this file knows; 0: nobody."""
        row = super().row("SELECT lead FROM replica_lead WHERE place <= ? ORDER BY place DESC LIMIT 1", place)
        return 0 if row is None else int(row[0])

    def _apply(self, entry: Entry) -> bool:
        """Replay one entry; returns whether the next one can follow."""
        if isinstance(entry.content, Claim):
            return self._follow(entry.seq, entry.lead, entry.content)
        rows = 0
        for statement, many, args in entry.content.changes:
            if many:
                rows += super().change_many(statement, args)
            elif "RETURNING" in statement:
                rows += len(super().rows(statement, *args))
            else:
                rows += super().change(statement, *args)
        if rows != entry.content.rows:
            self.rollback()
            self._start_over("it differs from what the leader has", keep=True)
            return False
        self._note_place(entry.seq)
        super().commit()
        self.applied, self._reach = entry.seq, (term_of(entry.lead), entry.seq)
        return True

    def _follow(self, seq: int, lead: int, claim: Claim) -> bool:
        if seq > 1 and self._writer_of(seq - 1) != self._writer:  # what was replayed is not there any more
            self._start_over("the log has another history", keep=True)
            return False
        if claim.former != self._writer:
            # It was to stand behind what NATS has lost: who wrote it has seen that, and does not lead.
            logger.warning("a master has begun to lead upon what is not in the log: it does not count", master=claim.master)
            return True
        if claim.format > sql.VERSION:
            raise StoreBroken(
                f"master {claim.master} of release {claim.release} leads, whose store has format {claim.format};"
                f" this one knows {sql.VERSION}: run that release here too"
            )
        if claim.rebased:
            self._load_snapshot(seq)
            return False
        self._migrate(claim.format)
        self._begin_lead(seq, lead)
        return True

    def _note_place(self, seq: int) -> None:
        super().change("DELETE FROM replica")
        super().change("INSERT INTO replica VALUES (?, ?)", seq, self._born)

    def _begin_lead(self, seq: int, lead: int) -> None:
        self._note_place(seq)
        for statement, *args in lead_begins(seq, lead):
            super().change(statement, *args)
        super().commit()
        self.applied, self._own, self._reach = seq, False, (term_of(lead), seq)

    def _start_over(self, why: str, keep: bool = False) -> None:
        """Make this copy anew, once; ``keep`` the file beside it, which may have what nobody else has."""
        if self._distrusted:
            raise StoreBroken(f"the log on NATS does not fit itself ({why}): restore a backup")
        self._db.close()
        self._put_aside(why, keep)
        self._distrusted, self.is_ahead, self._open_transaction = True, False, False
        super()._open()
        self._rewind()

    def _put_aside(self, why: str, keep: bool = True) -> None:
        kept = self.path.with_name(f"{self.path.name}.{time_ns()}") if keep else None
        if kept is not None:
            self.path.rename(kept)
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            path.unlink(missing_ok=True)
        beside = self.path.parent.glob(f"{self.path.name}.[0-9]*")
        ours = sorted(one for one in beside if one.suffix[1:].isdecimal())  # a restored one is the operator's
        for older in ours[:-KEPT_FILES]:
            older.unlink()
        logger.warning("this master's copy is made anew", why=why, kept=str(kept) if kept else "")

    def _load_snapshot(self, least: int = 0) -> None:
        """Put the latest snapshot of the log's history in the place of the file; it has to be of this place or a later one.

        Raises `Unreachable` where it was replaced meanwhile: it is to be looked again.
        """
        found = [one for one in self._log.snapshots() if one.place >= least and self._is_true(one)]
        if not found:
            self._missed += 1
            if self._missed < LOOKS:
                raise Unreachable("NATS tells of no snapshot of what was before the log")
            raise StoreBroken("NATS has the end of the queue's log, and no snapshot of what was before: restore a backup")
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            self._log.load_snapshot(found[-1], fresh, self._look)
        except Gone:
            raise Unreachable("a snapshot on NATS was replaced while it was read") from None
        except BaseException:
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise
        self._missed = 0
        self._db.close()
        self.path.with_name(self.path.name + "-wal").unlink(missing_ok=True)
        fresh.replace(self.path)
        self._open()
        logger.info("began with a snapshot", place=self.applied)

    def _is_true(self, snapshot: Snapshot) -> bool:
        """Whether it is of the log's history: one that was never to count may be left from a master that died."""
        return snapshot.place <= self._log.state().last and self._writer_of(snapshot.place) == snapshot.lead


def lead_begins(place: int, lead: int) -> list[tuple[Any, ...]]:
    """Statements, with their arguments, that note who leads from this place on."""
    return [
        ("DELETE FROM replica_lead WHERE place >= ?", place),
        ("INSERT INTO replica_lead VALUES (?, ?)", place, lead),
        ("DELETE FROM replica_lead WHERE place <= (SELECT place FROM replica_lead ORDER BY place DESC LIMIT 1 OFFSET ?)", LEADS),
    ]
