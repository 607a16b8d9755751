"""The verbs that only look."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from master import rules, sql
from master.moves import Moves
from taskyard.errors import BadRequest
from taskyard.model import END_STATES, OPEN_STATES, Details, Found, Result

REPLY_BYTES = 8 * 1024 * 1024
"""Payloads or values that one reply holds, about; at least one goes whatever its size."""
REPLY_ROWS = 50_000
"""Results or tasks that one reply holds."""
LONG_OF_RESULT = tuple(map(Result._fields.index, ("value", "cause")))
LONG_OF_FOUND = (Found._fields.index("cause"),)
LONG_OF_DETAILS = tuple(map(Details._fields.index, ("payload", "value", "cause")))
"""Fields that may be long."""
STATE = Found._fields.index("state")
Row = tuple[Any, ...]


class Views(Moves):
    """What clients are told. Replies are plain data, in the order of `taskyard.model`'s fields."""

    def results(self, job: Any, after: Any, limit: Any) -> list[Row]:
        """Results of a job behind a cursor, at most `REPLY_BYTES` of them."""
        rules.read_text(job, "job")
        return _page(self.store.rows(sql.RESULTS, job, rules.read_int(after, "after"), _rows(limit)), *LONG_OF_RESULT)

    def find(self, state: Any, job: Any, limit: Any, after: Any) -> list[Row]:
        """Tasks in a state (None: any), oldest first, skipping ``after``."""
        limit, after = _rows(limit), rules.read_int(after, "after")
        if job is not None:
            rules.read_text(job, "job")
        if state is not None and rules.read_text(state, "state") not in (*OPEN_STATES, *END_STATES):
            raise BadRequest(f"no state {state!r}; there are {', '.join((*OPEN_STATES, *END_STATES))}")
        if state == "leased":
            held = [held.entry.id for held in self._leases.all() if job in (None, held.entry.job)]
            found = [self.store.rows(sql.FIND_ONE, task_id)[0] for task_id in held[after : after + limit]]
        else:
            # A leased task's row says ready; as many more are read as may have to be left out.
            margin = len(self._leases) if state == "ready" else 0
            many = min(limit + after + margin, 2**63 - 1) if margin else limit
            given = [value for value in (state, job) if value is not None]
            found = self.store.rows(sql.find(state is not None, job is not None), *given, many, 0 if margin else after)
            if margin:
                found = [row for row in found if self._leases.get(row[0]) is None][after:]
        return _page([self._told(row) for row in found[:limit]], *LONG_OF_FOUND)

    def show(self, ids: Any, payloads: Any) -> list[Row]:
        """All that is known of these tasks, at most `REPLY_BYTES` of it."""
        if type(payloads) is not bool:
            raise BadRequest("payloads must be true or false")
        shown: list[Row] = []
        size = 0
        for task_id in rules.read_names(ids, "ids"):
            row = self.store.row(sql.SHOW, payloads, task_id)
            if row is None:
                continue
            held = self._leases.get(task_id)
            row = (*self._told(row), held.session.name if held else "")
            size += _size(row, LONG_OF_DETAILS)
            if (shown and size > REPLY_BYTES) or len(shown) == REPLY_ROWS:
                break
            shown.append(row)
        return shown

    def running(self, job: Any, limit: Any) -> list[Row]:
        """Leased tasks with their progress, the longest lease first."""
        limit, now = _rows(limit), self.now()
        if job is not None:
            rules.read_text(job, "job")
        leases = [held for held in self._leases.all() if job in (None, held.entry.job)]
        return [
            (
                entry.id,
                entry.job,
                entry.name,
                session.name,
                entry.attempts + 1,
                round(now - since, 3),
                *session.progress.get(entry.id, (0.0, 0.0, "")),
            )
            for entry, _, session, since in leases[:limit]
        ]

    def jobs(self, job: Any, limit: Any, after: Any) -> list[Row]:
        """Counts of one job or of all, the newest first, skipping ``after``."""
        limit, after = _rows(limit), rules.read_int(after, "after")
        self._write_job_counts()
        if job is not None:
            return self.store.rows(sql.JOB, rules.read_text(job, "job"))[after : after + limit]
        return self.store.rows(sql.JOBS, limit, after)

    def schedules(self) -> list[Row]:
        """Periodic tasks, by name."""
        return self._schedules.told()

    def stats(self) -> dict[str, Any]:
        """Counts by state, and what bounds them."""
        counts = dict(self._counts)
        counts["ready"] -= len(self._leases)
        return {
            **counts,
            "leased": len(self._leases),
            "bound": self._bound,
            "payload_limit": self.payload_limit,
            "lease": self._leases.lease_time,
            "workers": len(self._workers()),
            "items": self.items.counts(),
            "bytes": self.store.size(),
        }

    def workers(self) -> list[Row]:
        """What each live worker told of itself."""
        now = self.now()
        return [
            (
                session.name,
                session.info["host"],
                session.info["slots"],
                session.info["busy"],
                tuple(session.info["tasks"]),
                len(session.ids),
                round(now - session.seen, 3),
                session.info["python"],
            )
            for session in self._workers()
        ]

    def _told(self, row: Row) -> Row:
        """A task's row with the state of a leased one."""
        return row if self._leases.get(row[0]) is None else (*row[:STATE], "leased", *row[STATE + 1 :])


def _rows(limit: Any) -> int:
    return min(rules.read_int(limit, "limit", 1), REPLY_ROWS)


def _size(row: Row, fields: Sequence[int]) -> int:
    return sum(len(row[field]) for field in fields)


def _page(rows: list[Row], *fields: int) -> list[Row]:
    """As many of the rows as one reply may hold, one at least; ``fields``: those that may be long."""
    size = 0
    for index, row in enumerate(rows):
        for field in fields:
            size += len(row[field])
        if size > REPLY_BYTES and index:
            return rows[:index]
    return rows
