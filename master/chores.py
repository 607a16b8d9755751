"""What is done by itself, when its time has come: one chore a method, `Chores.tick` calls them all."""

from __future__ import annotations

from collections import Counter
from math import inf

from master import sql
from master.moves import Moves
from taskyard.series import from_tasks

CHORES_LIMIT = 1000
"""Rows that one turn of each chore changes, so that callers don't wait for a long one."""
PAUSE_SECONDS = 0.25
"""Between two turns, at most."""


class Chores(Moves):
    """The clock's side of the queue."""

    def tick(self) -> float:
        """Do what is due; returns after how many seconds to call again."""
        now, wall = self.now(), self._clock.wall()
        if now < self._next_chores:
            return float(self._next_chores - now)
        self._heed_clock_set_back(now, wall)
        self._end_silent_sessions(now)
        more = self._make_due(wall)
        more |= self._fail_what_has_not_begun(wall)
        self._forget_old_results(wall)
        self._fail_unknown_names(now)
        self._copy.drop_unread(now)
        next_moment = self._enqueue_periodic_tasks(now, wall)
        next_due = self.store.rows(sql.NEXT_DUE)[0][0]
        pause = 0.0 if more else max(0.0, min(PAUSE_SECONDS, next_moment - wall, (next_due or inf) - wall))
        self._next_chores = now + pause
        return pause

    def chores_are_due(self) -> bool:
        """Whether `tick` has something to do now, since a call has changed what is due."""
        return self._next_chores <= self.now()

    def _heed_clock_set_back(self, now: float, wall: float) -> None:
        """What was put off while the clock was ahead has a moment that is too late by as much."""
        before, wall_before = self._looked
        if wall < wall_before:
            self._set_back = (self._set_back or 0.0) + wall_before + (now - before) - wall
        if self._set_back is not None and (too_far := self.store.rows(sql.PUT_OFF_TOO_FAR, self._set_back, wall)):
            self.store.change_many(sql.PUT_OFF, too_far)
        self._looked = now, wall

    def _end_silent_sessions(self, now: float) -> None:
        for session in [s for s in self._leases.sessions.values() if s.deadline <= now]:
            self._end_session(session, lost=True)

    def _make_due(self, wall: float) -> bool:
        """Delayed tasks whose time has come are ready; returns whether there may be more of them."""
        due = self.store.rows(sql.DUE, wall, CHORES_LIMIT)
        for (seq,) in due:
            if self.store.change(sql.MAKE_READY, seq):
                self._move("delayed", "ready")
                self._backlog.push_row(seq)
        return len(due) == CHORES_LIMIT

    def _fail_what_has_not_begun(self, wall: float) -> bool:
        """Fail tasks that had to begin by now; a leased one may have begun. Returns whether there may be more of them."""
        limit = CHORES_LIMIT + len(self._leases)
        late = self.store.rows(sql.NOT_BEGUN, wall, limit)
        for *row, seconds in late:
            if row[0] not in self._leases.by_seq:
                self._end(row, "failed", b"", f"expired: not begun within {round(seconds, 3):.12g} s", 0)
        return len(late) == limit

    def _forget_old_results(self, wall: float) -> None:
        expires = self.store.rows(sql.NEXT_EXPIRY)[0][0]
        if expires is not None and expires <= wall:
            rows = Counter(self.store.rows(sql.EXPIRE, wall, CHORES_LIMIT))
            rows.update({("done", job): many for job, many in self._series.expire(wall, CHORES_LIMIT).items()})
            self._deleted(rows)

    def _fail_unknown_names(self, now: float) -> None:
        """Fail tasks whose name no worker has known for a lease time; without any worker, or while the queue is paused, they
        wait."""
        workers = [] if self._paused else self._workers()
        known = {name for session in workers for name in session.info["tasks"]}
        waiting = [name for name in self._backlog.names() if name not in known] if workers else []
        self._unknown_since = {name: self._unknown_since.get(name, now) for name in waiting}
        for name, since in self._unknown_since.items():
            if now - since < self._leases.lease_time:
                continue
            cause = f"unknown task: no worker knows {name!r}; they know {', '.join(sorted(known)) or 'none'}"
            for entry in self._backlog.take(name, CHORES_LIMIT):
                self._alone(entry)
                self._end((entry.seq, "ready", entry.job, entry.name), "failed", b"", cause, entry.attempts)

    def _enqueue_periodic_tasks(self, now: float, wall: float) -> float:
        """Take one task for each moment that is due; returns the next one (epoch s)."""
        # Of several workers that announce a name the one that joined last counts: sessions are in the order of joining.
        workers = self._workers()
        announced = {schedule.name: schedule for session in workers for schedule in session.info["schedules"]}
        if workers:
            self._schedules.announce(announced, now, wall, self._leases.lease_time)
        else:
            self._schedules.wait_for_workers()
        tasks = self._schedules.due(wall, self._bound - self._open())
        if tasks:
            self._take(from_tasks(tasks))
        return self._schedules.next_moment(wall)
