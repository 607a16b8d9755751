"""The verbs by which people steer the queue: pause, drain, retry, retry_all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from master import rules, sql
from master.moves import Moves
from taskyard.series import split_id
from taskyard.transport import RETRY_LIMIT


class Steering(Moves):
    """What an operator does to all that waits or has failed, and to workers."""

    def pause(self, paused: Any) -> bool:
        """Lend nothing more, or lend again; what runs goes on. Returns whether that changed anything."""
        if rules.read_switch(paused, "paused") == self._paused:
            return False
        self.store.change(sql.PAUSE, int(paused))
        self._paused = paused
        return True

    def drain(self, sessions: Any) -> int:
        """Let workers take nothing more, finish what they run, and end; they hear of it with their next heartbeat. Returns how
        many of them there are."""
        names = set(rules.read_names(sessions, "sessions"))
        told = [session for session in self._workers() if session.name in names]
        for session in told:
            session.drain = True
        return len(told)

    def retry(self, ids: Any) -> int:
        """Move failed tasks back to ready, their attempts forgotten."""
        return self._retry(map(split_id, rules.read_names(ids, "ids")))

    def retry_all(self, name: Any, job: Any, cause: Any) -> int:
        """The same for those of a name, of a job, with a cause that begins so (None: any), at most `RETRY_LIMIT`."""
        asked = (("name", name), ("job", job), ("cause", cause))
        given = [rules.read_text(value, what) for what, value in asked if value is not None]
        if cause is not None:
            given.append(cause)
        return self._retry(self.store.rows(sql.failed(name, job, cause), *given, RETRY_LIMIT))

    def _retry(self, ids: Iterable[tuple[Any, ...]]) -> int:
        retried, wall = 0, self._clock.wall()
        for prefix, number in ids:
            for seq, job in self.store.rows(sql.RETRY, wall, prefix, number):
                self._move("failed", "ready")
                self._count_job(job, "failed", -1)
                self._backlog.push_row(seq)
                retried += 1
        if retried:
            self.store.change(sql.KEEP_CURSOR, self._cursor)  # the withdrawn results may have been the last
        return retried
