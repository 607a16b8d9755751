"""The store of one of several masters: what it commits stands in the log first, what others commit is replayed.

The file is a copy that may be lost. It says up to where in the log it goes, in the transactions themselves.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from time import time_ns
from typing import Any

from master import sql
from master.replica.entries import Assembly, Change, Claim, Entry, Turn, lead_of, pack_claim, pack_turn
from master.replica.log import MESSAGE_BYTES, Log, LogState, Message
from master.replica.snapshots import Gone, Snapshot
from master.store import LeadLost, Store, StoreDamaged
from taskyard.errors import StoreBroken, StoreFull, Unreachable
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
logger = get_logger("master")


class ReplicaStore(Store):
    """A `Store` of which others have copies. It can be changed once it leads (`lead`); until then `catch_up` replays.

    ``after``: where the log has to end for a queue that one master has kept alone to go on in it, instead of what it had.
    Every method may raise `taskyard.errors.Unreachable` (NATS does not answer), statements and `commit` raise `LeadLost`.
    """

    def __init__(self, folder: Path, log: Log, after: int = 0) -> None:
        self._log = log
        self._after = after
        self._assembly = Assembly()
        self._lead = 0
        """The number that this master has drawn; 0: it does not lead."""
        self._changes: list[Change] = []
        self._rows = 0
        self._distrusted = False
        """Whether the file was put aside, since it differed from the log, and not all of that was replayed since."""
        self.is_ahead = False
        """Whether this file knows what the log does not, once `catch_up` has looked: NATS has lost the log or its end, or the
        queue was kept by one master alone until now."""
        self._checked = False
        self._born = ""
        self._own = False
        self.applied = 0
        """Place in the log up to which this file goes."""
        super().__init__(folder)

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
        self._assembly = Assembly()

    # To replay

    def catch_up(self) -> None:
        """Replay what the log has. Raises `StoreBroken`, also when a newer release leads."""
        log = self._log.state()
        if not self._checked or self.is_ahead or log.last < self._end or log.born != self._born:
            self._check(log)
        while self._end < log.last:
            try:
                messages = self._log.read(self._end, log.last)
            except Gone:
                self._load_snapshot()
                continue
            try:
                self._replay(messages)
            except BaseException:
                self.rollback()
                self._rewind()
                raise
        self._distrusted = False

    def _replay(self, messages: Sequence[Message]) -> None:
        """Until the file is another one."""
        for message in messages:
            entry = self._assembly.add(message.seq, message.data)
            if entry is not None and not self._apply(entry):
                return
            self._end = message.seq

    def _check(self, log: LogState) -> None:
        """Compare what this file has with what the log has."""
        was_ahead, self.is_ahead = self.is_ahead, False
        if self._own:
            if log.last != self._after and self._after:
                raise StoreBroken("a master has led meanwhile, and the queue has gone on: begin again")
            if log.last != self._after:
                raise StoreBroken(
                    f"{self.path} holds a queue of its own, while the log on NATS has one already: set MASTER_DATA to another"
                    " folder, or the queue's name in TASKYARD_URL to another one (nats://HOST/NAME)"
                )
            self.is_ahead = True
        elif self.applied and not self._is_of(log):
            self._start_over("the log has another history", keep=True)
        elif self.applied > log.last:
            self.is_ahead = True
        self._checked, self._born = True, log.born
        self._rewind()
        if self.is_ahead:
            self._end = log.last
            if not (was_ahead or self._after):
                told = {"log": log.last, "store": self.applied}
                logger.warning("the log on NATS lacks what this master has: it is to have it again", **told)

    def _is_of(self, log: LogState) -> bool:
        """Whether the log's history is that of this file, as far as both go."""
        place = min(self.applied, log.last)
        if log.last == 0:
            return True  # it begins anew
        if self._born not in ("", log.born):
            return False
        if place < log.first:
            return True  # a snapshot is to be loaded
        (message,) = self._log.read(place - 1, place)
        return self._lead_at(place) == lead_of(message.data)

    def _lead_at(self, place: int) -> int:
        """Who led when this place was written, as this file knows; 0: nobody."""
        row = super().row("SELECT lead FROM replica_lead WHERE place <= ? ORDER BY place DESC LIMIT 1", place)
        return 0 if row is None else int(row[0])

    def _apply(self, entry: Entry) -> bool:
        """Replay one entry; returns whether the next one can follow."""
        if entry.seq <= self.applied:
            return True
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
        if entry.lead != self._lead_at(entry.seq) or rows != entry.content.rows:
            self.rollback()
            self._start_over("it differs from what the leader has", keep=True)
            return False
        self._note_place(entry.seq)
        super().commit()
        self.applied = entry.seq
        return True

    def _follow(self, seq: int, lead: int, claim: Claim) -> bool:
        if claim.format > sql.VERSION:
            raise StoreBroken(
                f"master {claim.master} of release {claim.release} leads, whose store has format {claim.format};"
                f" this one knows {sql.VERSION}: run that release here too"
            )
        if claim.rebased:
            self._load_snapshot(seq)
            return False
        if claim.former != self._lead_at(seq):
            self._start_over("the log has another history", keep=True)
            return False
        self._migrate(claim.format)
        self._begin_lead(seq, lead)
        return True

    def _note_place(self, seq: int) -> None:
        super().change("DELETE FROM replica")
        super().change("INSERT INTO replica VALUES (?, ?)", seq, self._born)

    def _begin_lead(self, seq: int, lead: int) -> None:
        self._note_place(seq)
        for statement, *args in _lead_begins(seq, lead):
            super().change(statement, *args)
        super().commit()
        self.applied, self._own = seq, False

    def _start_over(self, why: str, keep: bool = False) -> None:
        """Make this copy anew, once; ``keep`` the file beside it, which may have what nobody else has."""
        if self._distrusted:
            raise StoreBroken(f"the log on NATS does not fit itself ({why}): restore a backup")
        self._db.close()
        self._put_aside(why, keep)
        self._distrusted, self.is_ahead = True, False
        super()._open()

    def _put_aside(self, why: str, keep: bool = True) -> None:
        kept = self.path.with_name(f"{self.path.name}.{time_ns()}") if keep else None
        if kept is not None:
            self.path.rename(kept)
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            path.unlink(missing_ok=True)
        beside = self.path.parent.glob(f"{self.path.name}.[0-9]*")
        for older in sorted(one for one in beside if one.suffix[1:].isdecimal())[
            :-KEPT_FILES
        ]:  # a restored one is the operator's
            older.unlink()
        logger.warning("this master's copy is made anew", why=why, kept=str(kept) if kept else "")

    def _load_snapshot(self, least: int = 0) -> None:
        """Put the latest snapshot of the log's history in the place of the file; it has to be of this place or a later one.

        Raises `Unreachable` where it was replaced meanwhile: it is to be looked again.
        """
        found = [one for one in self._log.snapshots() if one.place >= least and self._is_true(one)]
        if not found:
            raise StoreBroken("NATS has the end of the queue's log, and no snapshot of what was before: restore a backup")
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            self._log.load_snapshot(found[-1], fresh)
        except Gone:
            raise Unreachable("a snapshot on NATS was replaced while it was read") from None
        self._db.close()
        self.path.with_name(self.path.name + "-wal").unlink(missing_ok=True)
        fresh.replace(self.path)
        self._open()
        logger.info("began with a snapshot", place=self.applied)

    def _is_true(self, snapshot: Snapshot) -> bool:
        """Whether it is of the log's history: one that was never to count may be left from a master that died."""
        try:
            messages = self._log.read(snapshot.place - 1, snapshot.place)
        except Gone:
            return False
        return lead_of(messages[0].data) == snapshot.lead

    # To lead

    def lead(self, master: str, release: str) -> None:
        """Begin to lead: from now on what is committed stands in the log. Returns once this master has replayed all of it and
        nobody else can write any more."""
        lead = secrets.randbits(63)
        rebased: Snapshot | None = None
        while not self._lead:
            self.catch_up()
            claim = Claim(master, sql.VERSION, release, self._lead_at(self._end), self.is_ahead)
            rebased = self._save_rebased(self._end + 1, lead) if self.is_ahead else None
            try:
                self._end = self._log.append(self._end, pack_claim(lead, claim))
            except LeadLost:  # the former leader was not done yet
                continue
            self._lead, self.is_ahead = lead, False
        self._migrate(sql.VERSION)
        self._begin_lead(self._end, lead)
        if rebased is not None:
            self._log.begin_with(rebased, anew=True)

    @property
    def leads(self) -> bool:
        """Whether it has begun to."""
        return self._lead != 0

    def _save_rebased(self, place: int, lead: int) -> Snapshot:
        """A snapshot of this file, for a claim at this place that lets the log go on with it."""
        self._migrate(sql.VERSION)
        copy = self.copy()
        with closing(sqlite3.connect(copy)) as db, db:
            db.execute("DELETE FROM replica")
            db.execute("INSERT INTO replica VALUES (?, ?)", (place, self._born))
            for statement, *args in _lead_begins(place, lead):
                db.execute(statement, args)
        saved = self._log.save_snapshot(place, lead, copy)
        copy.unlink()
        return saved

    def save_snapshot(self) -> None:
        """Keep a copy of the file on NATS, for masters that have less than the log goes back."""
        copy = self.copy()
        self._log.begin_with(self._log.save_snapshot(self.applied, self._lead, copy), anew=False)
        copy.unlink()

    @property
    def place(self) -> tuple[int, int]:
        """Up to where in the log this file goes, and under which leader that was written."""
        return self.applied, self._lead

    def copy(self) -> Path:
        """A copy of the file, for a snapshot; call it between transactions."""
        path = self.path.with_name("snapshot.db")
        self.copy_to(path)
        return path

    def rows(self, statement: str, *args: Any) -> list[tuple[Any, ...]]:
        """See `Store.rows`."""
        found = super().rows(statement, *args)
        if not statement.lstrip().startswith("SELECT"):
            self._note(statement, False, args, len(found))
        return found

    def change(self, statement: str, *args: Any) -> int:
        """See `Store.change`."""
        met = super().change(statement, *args)
        self._note(statement, False, args, met)
        return met

    def change_many(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> int:
        """See `Store.change_many`."""
        listed = list(rows)
        met = super().change_many(statement, listed)
        self._note(statement, True, listed, met)
        return met

    def _note(self, statement: str, many: bool, args: Any, met: int) -> None:
        self._changes.append((statement, many, args))
        self._rows += met

    def commit(self) -> bool:
        """Write the turn into the log, then into the file. Raises `LeadLost`, `StoreFull` (nothing was written)."""
        if not self._open_transaction:
            return False
        turn = Turn(self._changes, self._rows)
        self._forget_turn()
        for message in pack_turn(self._lead, turn, MESSAGE_BYTES):
            self._end = self._log.append(self._end, message)
        try:
            self._note_place(self._end)
            super().commit()
        except (StoreFull, StoreBroken) as error:  # others may lead on: they have it
            raise LeadLost(f"the log has what this master can't write: {error}") from None
        self.applied = self._end
        return True

    def rollback(self) -> None:
        """See `Store.rollback`."""
        self._forget_turn()
        super().rollback()

    def _forget_turn(self) -> None:
        self._changes, self._rows = [], 0


def _lead_begins(place: int, lead: int) -> list[tuple[Any, ...]]:
    """Statements, with their arguments, that note who leads from this place on."""
    return [
        ("DELETE FROM replica_lead WHERE place >= ?", place),
        ("INSERT INTO replica_lead VALUES (?, ?)", place, lead),
        ("DELETE FROM replica_lead WHERE place <= (SELECT place FROM replica_lead ORDER BY place DESC LIMIT 1 OFFSET ?)", LEADS),
    ]
