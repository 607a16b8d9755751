"""The store of one of several masters: what it commits stands in the log first, what others commit is replayed.

The file is a copy that may be lost. It says up to where in the log it goes, in the transactions themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from time import time
from typing import Any

from master import sql
from master.replica.entries import Assembly, Change, Claim, Entry, Turn, lead_of, pack_claim, pack_turn
from master.replica.log import MESSAGE_BYTES, Log, LogState
from master.replica.snapshots import Gone
from master.store import LeadLost, Store
from taskyard.errors import StoreBroken, StoreFull
from taskyard.log import get_logger

PLACE = """CREATE TABLE IF NOT EXISTS replica (
    applied INTEGER NOT NULL,                 -- place in the log up to which this file goes
    lead    INTEGER NOT NULL,                 -- who led then: the place of its claim
    born    TEXT NOT NULL                     -- when that log was made
) STRICT"""
logger = get_logger("master")


class ReplicaStore(Store):
    """A `Store` of which others have copies. It can be changed once it leads (`lead`); until then `catch_up` replays.

    Every method may raise `taskyard.errors.Unreachable` (NATS does not answer), statements and `commit` raise `LeadLost`.
    """

    def __init__(self, folder: Path, log: Log) -> None:
        self._log = log
        self._assembly = Assembly()
        self._lead = 0
        """Place of the claim with which this master began to lead; 0: it does not."""
        self._changes: list[Change] = []
        self._rows = 0
        self._distrusted = False
        """Whether the file was thrown away once, since it differed from the log."""
        self.is_ahead = False
        """Whether this file knows what the log does not, once `catch_up` has looked: NATS has lost the log or its end, or the
        queue was kept by one master alone until now."""
        self._checked = False
        self._born = ""
        self.applied = 0
        """Place in the log up to which this file goes."""
        self._last_lead = 0
        super().__init__(folder)

    def _bring_up_to_date(self) -> None:
        # The format follows the log: what masters of an older release write there has to make sense here.
        self._db.execute("PRAGMA synchronous=NORMAL")  # after a power loss it is merely older
        self._db.execute(PLACE)
        kept = self._db.execute("SELECT applied, lead, born FROM replica").fetchone()
        self.applied, self._last_lead, self._born = kept or (0, 0, self._born)
        self._end = self.applied
        """Place of the last message that was read or written."""

    # To replay

    def catch_up(self) -> None:
        """Replay what the log has. Raises `StoreBroken`, also when a newer release leads."""
        log = self._log.state()
        if not self._checked:
            self._check(log)
            self._checked = True
        if self.is_ahead and log.last > self._end:
            self._start_over("the log goes on without what only this master had", keep=True)
        while self._end < log.last:
            try:
                messages = self._log.read(self._end, log.last)
            except Gone:
                self._load_snapshot()
                continue
            for message in messages:
                self._end = message.seq
                entry = self._assembly.add(message.seq, message.data)
                if entry is not None and not self._apply(entry):
                    break

    def _check(self, log: LogState) -> None:
        """Compare what this file has with what the log has."""
        if self.applied == 0 and self.version > 0:
            if log.last:
                raise StoreBroken(
                    f"{self.path} holds a queue of its own, while the log on NATS has one already: set MASTER_DATA to another"
                    " folder, or the queue's name in TASKYARD_URL to another one (nats://HOST/NAME)"
                )
            self.is_ahead = True
        elif self._born not in ("", log.born) and log.last:
            self._start_over("the log was made anew", keep=True)
        elif self.applied > log.last:
            self.is_ahead = True
        elif self.applied >= log.first:
            (message,) = self._log.read(self.applied - 1, self.applied)
            if lead_of(message.seq, message.data) != self._last_lead:
                self._start_over("the log has another history")
        self._born = log.born
        if self.is_ahead:
            logger.warning("the log on NATS lacks what this master has: it is to have it again", log=log.last, store=self.applied)
            self._end = log.last

    def _apply(self, entry: Entry) -> bool:
        """Replay one entry; returns whether the next one can follow."""
        if isinstance(entry.content, Claim):
            return self._follow(entry.seq, entry.content)
        rows = 0
        for statement, many, args in entry.content.changes:
            if many:
                rows += super().change_many(statement, args)
            elif "RETURNING" in statement:
                rows += len(super().rows(statement, *args))
            else:
                rows += super().change(statement, *args)
        if rows != entry.content.rows or entry.lead != self._last_lead:
            self.rollback()
            if self._distrusted:
                raise StoreBroken(f"entry {entry.seq} of the log does not fit what stands before it: restore a backup")
            self._start_over("it differs from what the leader has")
            return False
        self._note_place(entry.seq, entry.lead)
        super().commit()
        return True

    def _follow(self, seq: int, claim: Claim) -> bool:
        if claim.format > sql.VERSION:
            raise StoreBroken(
                f"master {claim.master} of release {claim.release} leads, whose store has format {claim.format};"
                f" this one knows {sql.VERSION}: run that release here too"
            )
        if claim.rebased:
            self._load_snapshot(seq)
            return False
        self._migrate(claim.format)
        self._note_place(seq, seq)
        super().commit()
        return True

    def _note_place(self, seq: int, lead: int) -> None:
        super().change("DELETE FROM replica")
        super().change("INSERT INTO replica VALUES (?, ?, ?)", seq, lead, self._born)
        self.applied, self._last_lead = seq, lead

    def _start_over(self, why: str, keep: bool = False) -> None:
        """Make this copy anew; ``keep`` the file beside it, which has what nobody else has."""
        self._db.close()
        kept = self.path.with_name(f"{self.path.name}.{int(time())}") if keep else None
        if kept is not None:
            self.path.rename(kept)
        for path in (self.path, self.path.with_name(self.path.name + "-wal")):
            path.unlink(missing_ok=True)
        logger.warning("this master's copy is made anew", why=why, kept=str(kept) if kept else "")
        self._distrusted, self.is_ahead, self._assembly = True, False, Assembly()
        self._open()

    def _load_snapshot(self, seq: int | None = None) -> None:
        """Put a snapshot in the place of the file; None: the latest."""
        known = self._log.snapshots()
        if not known or (seq is not None and seq not in known):
            raise StoreBroken(f"NATS has no snapshot of the queue {seq or 'and only the end of its log'}: restore a backup")
        chosen = seq or known[-1]
        fresh = self.path.with_name(self.path.name + ".new")
        try:
            self._log.load_snapshot(chosen, fresh)
        except Gone:  # there is a later one
            return
        self._db.close()
        self.path.with_name(self.path.name + "-wal").unlink(missing_ok=True)
        fresh.replace(self.path)
        self._assembly = Assembly()
        self._open()
        logger.info("began with a snapshot", place=self.applied)

    # To lead

    def lead(self, master: str, release: str) -> None:
        """Begin to lead: from now on what is committed stands in the log. Returns once this master has replayed all of it and
        nobody else can write any more."""
        while not self._lead:
            self.catch_up()
            claim = Claim(master, sql.VERSION, release, self.is_ahead)
            try:
                place = self._rebase(claim) if self.is_ahead else self._log.append(self._end, pack_claim(claim))
            except LeadLost:  # the former leader was not done yet
                continue
            self._lead = self._end = place
        self._migrate(sql.VERSION)
        self._note_place(self._lead, self._lead)
        super().commit()

    def _rebase(self, claim: Claim) -> int:
        """Let the log go on from what this file has."""
        place = self._end + 1
        self._migrate(sql.VERSION)
        self._note_place(place, place)
        super().commit()
        self.save_snapshot()
        return self._log.append(self._end, pack_claim(claim))

    def save_snapshot(self) -> None:
        """Keep a copy of the file on NATS, for masters that have less than the log goes back."""
        copy = self.copy()
        self._log.save_snapshot(self.applied, copy)
        copy.unlink()

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
        self._note_place(self._end, self._lead)
        try:
            return super().commit()
        except StoreFull as error:
            raise StoreBroken(f"the log has what this master has no room for: {error}") from None

    def rollback(self) -> None:
        """See `Store.rollback`."""
        self._forget_turn()
        super().rollback()

    def _forget_turn(self) -> None:
        self._changes, self._rows = [], 0
