"""The store of one of several masters: what it commits stands in the log first."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any

from master import sql
from master.replica.entries import Change, Claim, Turn, draw_lead, pack_claim, pack_turn, term_of
from master.replica.follower import Follower, lead_begins, nothing
from master.replica.log import MESSAGE_BYTES, Log
from master.replica.snapshots import Snapshot
from master.store import LeadLost, migrate
from taskyard.errors import StoreBroken, StoreFull

Copied = tuple[int, int]
"""Up to where in the log a copy goes, and under which leader that was written."""
Between = Callable[[Callable[[], Copied]], Copied]


def at_once(work: Callable[[], Copied]) -> Copied:
    """Run what needs no other moment."""
    return work()


class CantFollow(LeadLost):
    """This master's own disk refuses what the log has: another one is to lead."""


class ReplicaStore(Follower):
    """A `Follower` that can be changed once it leads (`lead`). Statements and `commit` raise `LeadLost` too."""

    def __init__(self, folder: Path, log: Log, after: int = 0) -> None:
        self._lead = 0
        """The number that this master has drawn; 0: it does not lead."""
        self._changes: list[Change] = []
        self._rows = 0
        super().__init__(folder, log, after)

    def lead(self, master: str, release: str, look: Callable[[], None] = nothing) -> None:
        """Begin to lead: from now on what is committed stands in the log. Returns once this master has replayed all of it and
        nobody else can write any more.

        ``look``: as of `catch_up`; it ends what would go on for as long as others write. Raises also `LeadLost`.
        """
        rebased: Snapshot | None = None
        while not self._lead:
            look()
            self.catch_up(look)
            lead, after = draw_lead(max(self._writer, self._lead_at(self.applied), key=term_of)), self._end
            claim = Claim(master, sql.VERSION, release, self._writer, self.is_ahead)
            rebased = self._save_rebased(after + 1, lead) if self.is_ahead else None
            try:
                self._end = self._log.claim(lead, after, pack_claim(lead, claim))
            except LeadLost:  # the former leader was not done yet
                continue
            # Only now is it sure what stands before: NATS may have lost what was replayed, and have something else there.
            if after and self._writer_of(after) not in (claim.former, None):
                self._compare_anew()
                continue
            self._lead, self._writer, self.is_ahead = lead, lead, False
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
        path = self._snapshot_path
        try:
            self.copy_to(path)
            with closing(sqlite3.connect(path, isolation_level=None)) as db:
                migrate(db, self.version, sql.VERSION)  # the copy alone: an older release may lead yet
                db.execute("DELETE FROM replica")
                db.execute("INSERT INTO replica VALUES (?, ?)", (place, self._born))
                for statement, *args in lead_begins(place, lead):
                    db.execute(statement, args)
            return self._log.save_snapshot(place, lead, path)
        finally:
            path.unlink(missing_ok=True)

    def save_snapshot(self, between: Between = at_once, stopped: threading.Event | None = None) -> int:
        """Keep a copy of the file on NATS, and drop the log's beginning; returns the place of the log that it stands for.

        ``between``: runs what is to be run between two transactions. Raises also `taskyard.errors.TaskyardError` when the copy
        can't be written; `LeadLost`; `Unreachable` once ``stopped`` is set.
        """
        path = self._snapshot_path
        try:
            place, lead = between(self._copy)
            saved = self._log.save_snapshot(place, lead, path, stopped)
        finally:
            path.unlink(missing_ok=True)
        self._log.begin_with(saved, anew=False)
        return place

    def _copy(self) -> Copied:
        self.copy_to(self._snapshot_path)
        return self.applied, self._lead

    @property
    def _snapshot_path(self) -> Path:
        return self.path.with_name("snapshot.db")

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
        """Write the turn into the log, then into the file. Raises `LeadLost`, `StoreFull` (nothing counts of it)."""
        if not self._open_transaction:
            return False
        turn = Turn(self._changes, self._rows)
        self._forget_turn()
        for message in pack_turn(self._lead, turn, MESSAGE_BYTES):
            self._end = self._log.append(self._lead, self._end, message)
        try:
            self._note_place(self._end)
            super().commit()
        except (StoreFull, StoreBroken) as error:  # others may lead on: they have it
            raise CantFollow(f"the log has what this master can't write: {error}") from None
        self.applied, self._reach = self._end, (term_of(self._lead), self._end)
        return True

    def rollback(self) -> None:
        """See `Store.rollback`."""
        self._forget_turn()
        super().rollback()

    def _forget_turn(self) -> None:
        self._changes, self._rows = [], 0
