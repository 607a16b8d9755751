"""The queue's semantics: the verbs of the contract. docs/contract.md has the state picture.

Four files: `master.moves` (what moves a task on), `master.views` (the verbs that only look), `master.chores` (what the
clock does), and here the verbs that change something. Single-threaded: `master.committer` calls the verbs and decides
when to commit.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from master import rules, sql
from master.chores import Chores
from master.leases import Session
from master.moves import Clock
from master.views import REPLY_BYTES, Views
from taskyard.errors import QueueFull
from taskyard.model import END_STATES

__all__ = ["SUSPECT_AFTER", "Clock", "Engine"]

SUSPECT_AFTER = 3
"""A task that was lost so many times together with its worker is leased alone from then on; lost again, an attempt is counted."""


class Engine(Views, Chores):
    """All verbs of `taskyard.contract.Queue`; those that wait return what there is now.

    Arguments come from the wire as they are; replies are plain data. Raises what the contract says for each verb.
    """

    # Clients

    def submit(self, rows: Any) -> int:
        """Take tasks; see the contract."""
        tasks = rules.read_tasks(rows, self.payload_limit)
        if self._open() + len(tasks) > self._bound:
            new = sum(self.store.row(sql.BY_ID, task_id) is None for task_id in {task.id for task in tasks})
            if new and self._open() + new > self._bound:
                raise QueueFull(f"the queue holds {self._open():,} open tasks of at most {self._bound:,} (MASTER_BOUND)")
        return self._take(tasks)

    def cancel(self, ids: Any) -> int:
        """End open tasks as cancelled; their workers hear of it at their next heartbeat."""
        cancelled = 0
        for task_id in rules.read_names(ids, "ids"):
            row = self.store.row(sql.BY_ID, task_id)
            if row is None or row[1] in END_STATES:
                continue
            held = self._leases.take_back(task_id)
            if held is not None:
                held.session.stop[task_id] = self.now() + self._leases.lease_time
            self._losses.pop(task_id, None)
            self._end(row, "cancelled", b"", "cancelled", row[4])
            cancelled += 1
        return cancelled

    def retry(self, ids: Any) -> int:
        """Move failed tasks back to ready, their attempts forgotten."""
        retried = 0
        for task_id in rules.read_names(ids, "ids"):
            for seq, job in self.store.rows(sql.RETRY, task_id):
                self._move("failed", "ready")
                self._count_job(job, "failed", -1)
                self._losses.pop(task_id, None)
                self._backlog.push_row(seq)
                retried += 1
        if retried:
            self.store.change(sql.KEEP_CURSOR, self._cursor)  # the withdrawn results may have been the last
        return retried

    def forget(self, job: Any) -> int:
        """Delete the ended tasks of a job."""
        rules.read_text(job, "job")
        return self._deleted(self.store.rows(sql.FORGET, job))

    # Workers

    def lease(
        self, connection: object, session: Any, limit: Any, names: Any, asked: float | None = None
    ) -> list[tuple[Any, ...]] | None:
        """Lend what is ready, the first by priority then age; None while there is nothing (an empty list: drained).

        ``asked``: when the call came, by `now`, for one that has waited. That it waits is no sign of life, and a session
        that was not heard of for a lease time is lent nothing.
        """
        asking = self._session(session, asked)
        now, wall = self.now(), self._clock.wall()
        if asking.deadline <= now:
            return []
        if asking.connection is not connection:
            self._give_back(asking, lost=False)  # it came back on a new connection and has dropped what it had not begun
            asking.connection = connection
        if asking.draining:
            return []
        if asking.alone in asking.ids:
            return None
        limit = min(rules.read_int(limit, "limit", 1), self._fair_share())
        lent: list[tuple[Any, ...]] = []
        size = 0
        while len(lent) < limit and size < REPLY_BYTES:
            best = self._backlog.best(names)
            if best is None:
                break
            window, entry = best
            if entry.begin_by <= wall and entry.attempts == 0:
                window.pop()  # too late for it; a chore will end it
                continue
            alone = bool(self._losses) and self._losses.get(entry.id, 0) >= SUSPECT_AFTER
            if alone and asking.ids:
                break
            payload = entry.payload
            if payload is None:
                payload = self.store.rows(sql.PAYLOAD, entry.seq)[0][0]
            window.pop()
            token = self._leases.lend(entry, asking, now)
            lent.append((entry.id, token, entry.attempts + 1, entry.name, payload, entry.time_limit, entry.job))
            size += len(payload)
            if alone:
                asking.alone = entry.id
                break
        return lent or None

    def settle(self, session: Any, rows: Any) -> int:
        """Take outcomes. An outcome whose lease was lost counts only if it is the first *done* of its task."""
        outcomes = rules.read_outcomes(rows, self.payload_limit)
        self._session(session)
        now, done, counted = self._clock.wall(), dict[str, tuple[Any, ...]](), 0
        jobs: list[str] = []
        for outcome in outcomes:
            held = self._leases.get(outcome.id)
            if held is None or held.token != outcome.token:
                counted += outcome.kind == "done" and outcome.id not in done and self._settle_late(outcome)
                continue
            counted += 1
            self._leases.take_back(outcome.id)
            if outcome.kind == "done":
                self._cursor += 1
                done[outcome.id] = (self._cursor, outcome.value, now, held.entry.seq)
                jobs.append(held.entry.job)
            elif outcome.kind == "failed":
                self._attempt_failed(held.entry, outcome.value, outcome.cause, outcome.delay, outcome.final)
            elif outcome.delay > 0:
                self.store.change(sql.DELAY, now + outcome.delay, held.entry.attempts, "", held.entry.seq)
                self._move("ready", "delayed")
            else:
                self._backlog.push(held.entry)
        if done:
            self.store.change_many(sql.END_DONE, done.values())
            self._move("ready", "done", len(done))
            for job, many in Counter(jobs).items():
                self._count_job(job, "done", many)
                self.jobs_ended.add(job)
            if self._losses:
                for outcome in outcomes:
                    self._losses.pop(outcome.id, None)
        return counted

    def heartbeat(self, session: Any, info: Any) -> list[str]:
        """Keep the session's leases; returns which of its tasks were cancelled meanwhile."""
        told = rules.read_info(info, self.payload_limit)
        beating = self._session(session)
        beating.progress |= {task_id: how for task_id, how in told.pop("progress").items() if task_id in beating.ids}
        beating.info = told
        self.drained |= beating.draining
        # Told again for a while: the answer may not have arrived. What a rollback has opened again is not told.
        beating.stop = {task_id: until for task_id, until in beating.stop.items() if until > beating.seen}
        rows = [(task_id, self.store.row(sql.BY_ID, task_id)) for task_id in beating.stop]
        return [task_id for task_id, row in rows if row is None or row[1] in END_STATES]

    def leave(self, session: Any) -> int:
        """End a session in peace: what it holds goes back, no attempt is counted."""
        leaving = self._leases.sessions.pop(rules.read_text(session, "session"), None)
        return 0 if leaving is None else self._give_back(leaving, lost=False)

    def closed(self, connection: object) -> None:
        """A connection has closed: what was handed out on it goes back at once."""
        self.items.closed(connection)
        for session in [s for s in self._leases.sessions.values() if s.connection is connection]:
            self._lost(session)

    def grant(self, seconds: float) -> None:
        """Put off the end of every session: for so long nobody listened to what they said."""
        for session in self._leases.sessions.values():
            session.deadline += seconds

    def has_ready(self) -> bool:
        """Whether there is anything to lease, for whomever."""
        return self._backlog.best(None) is not None

    # Parts of the above

    def _session(self, name: Any, heard: float | None = None) -> Session:
        return self._leases.session(rules.read_text(name, "session"), self.now() if heard is None else heard)

    def _fair_share(self) -> int:
        # Near its end a job is spread over all workers instead of sitting in the first one's buffer.
        ready = self._counts["ready"] - len(self._leases)
        return max(1, -(-ready // max(1, len(self._leases.sessions))))
