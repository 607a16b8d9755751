"""The queue's semantics: the verbs of the contract. docs/contract.md has the state picture.

Five files: `master.moves` (what moves a task on), `master.views` (the verbs that only look), `master.chores` (what the
clock does), `master.steering` (what people do to all that waits, or to workers), and here the other verbs. Single-threaded:
`master.committer` calls the verbs and decides when to commit.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from master import rules, sql
from master.chores import Chores
from master.gauges import Levels
from master.leases import Held, Progress, Session
from master.moves import Clock
from master.ready import Entry
from master.steering import Steering
from master.views import REPLY_BYTES, Views
from taskyard.errors import QueueFull
from taskyard.model import END_STATES
from taskyard.series import OutcomeSeries, join_id, part, split_id

__all__ = ["SUSPECT_AFTER", "Clock", "Engine"]

SUSPECT_AFTER = 3
"""A task that was lost so many times together with its worker is leased alone from then on; lost again, an attempt is counted."""


class Engine(Views, Chores, Steering):
    """All verbs of `taskyard.contract.Queue`; those that wait return what there is now.

    Arguments come from the wire as they are; replies are plain data. Raises what the contract says for each verb.
    """

    # Clients

    def submit(self, rows: Any) -> int:
        """Take tasks; see the contract."""
        series = rules.read_tasks(rows, self.payload_limit)
        many = sum(len(tasks.payloads) for tasks in series)
        if self._open() + many > self._bound:
            ids = {(tasks.prefix, tasks.first + index) for tasks in series for index in range(len(tasks.payloads))}
            new = sum(self._row(prefix, number) is None for prefix, number in ids)
            if new and self._open() + new > self._bound:
                raise QueueFull(f"the queue holds {self._open():,} open tasks of at most {self._bound:,} (MASTER_BOUND)")
        return self._take(series)

    def cancel(self, ids: Any) -> int:
        """End open tasks as cancelled; their workers hear of it at their next heartbeat."""
        cancelled = 0
        for task_id in rules.read_names(ids, "ids"):
            row = self._own_row(task_id)
            if row is None or row[1] in END_STATES:
                continue
            held = self._leases.take_back(row[0])
            if held is not None:
                held.session.stop[task_id] = self.now() + self._leases.lease_time
                self._keep_attempt(row[0], row[4] + 1, held, "cancelled", "cancelled")
            self._end(row, "cancelled", b"", "cancelled", row[4])
            cancelled += 1
        return cancelled

    def forget(self, job: Any) -> int:
        """Delete the ended tasks of a job."""
        rules.read_text(job, "job")
        rows = Counter(self.store.rows(sql.FORGET, job))
        rows.update({("done", job): many for job, many in self._series.forget(job).items()})
        return self._deleted(rows)

    def backup(self, token: Any, offset: Any, limit: Any) -> bytes:
        """A piece of a copy of the store. For `COPY`, not within a transaction."""
        rules.read_text(token, "token")
        return self._copy.read(token, rules.read_int(offset, "offset"), rules.read_int(limit, "limit", 1), self.now())

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
        if self._paused or asking.drain:  # nothing is said of the latter, lest a worker ask again before its heart has heard it
            return None
        alone = self._leases.by_seq.get(asking.alone)
        if alone is not None and alone.session is asking:
            return None
        limit = min(rules.read_int(limit, "limit", 1), self._fair_share())
        lent: list[tuple[Any, ...]] = []
        size = 0
        while limit > 0 and size < REPLY_BYTES:
            best = self._backlog.best(names)
            if best is None:
                break
            window, entry = best
            if entry.begin_by <= wall and entry.attempts == 0:
                window.pop()  # too late for it; a chore will end it
                continue
            before_suspect = self._before_suspect(entry)
            if before_suspect == 0 and asking.leased:
                break
            entry = window.pop(min(limit, before_suspect or 1))
            payloads = entry.payloads or list(self.store.rows(sql.PAYLOAD, entry.seq)[0])
            token = self._leases.lend(entry, asking, now, wall)
            waited = len(self._waited.intersection(range(entry.seq, entry.seq + entry.many))) if self._waited else 0
            if waited < entry.many and entry.since:
                self.gauges.count(entry.name, "wait", entry.many - waited, wall - entry.since)
            lent.append(
                (entry.prefix, entry.number, token, entry.attempts + 1, entry.name, payloads, entry.time_limit, entry.job)
            )
            size += sum(map(len, payloads))
            limit -= entry.many
            if before_suspect == 0:
                asking.alone = entry.seq
                break
        return lent or None

    def settle(self, session: Any, rows: Any) -> int:
        """Take outcomes. An outcome whose lease was lost counts only if it is the first *done* of its task."""
        series = rules.read_outcomes(rows, self.payload_limit)
        settling = self._session(session)
        now, counted = self._clock.wall(), 0
        for outcomes in series:
            held = self._leases.by_token.get(outcomes.token)
            entry = self._leases.take(outcomes.token, outcomes.prefix, outcomes.first, len(outcomes.values))
            if entry is not None and held is not None:
                self._settle(entry, outcomes, now, held)
                counted += entry.many
                continue
            for index, value in enumerate(outcomes.values):
                entry = self._leases.take(outcomes.token, outcomes.prefix, outcomes.first + index, 1)
                if entry is not None and held is not None:
                    self._settle(entry, part(outcomes, index, index + 1), now, held)
                    counted += 1
                elif outcomes.kind == "done":
                    late, seconds = join_id(outcomes.prefix, outcomes.first + index), outcomes.seconds / len(outcomes.values)
                    counted += self._settle_late(late, value, seconds, settling)
        return counted

    def heartbeat(self, session: Any, info: Any) -> tuple[list[str], bool]:
        """Keep the session's leases; returns which of its tasks were cancelled meanwhile, and whether it is to drain."""
        told = rules.read_info(info, self.payload_limit)
        beating = self._session(session)
        self._note_progress(beating, told.pop("progress"))
        beating.info, beating.host = told, told["host"]
        self._leases.gone.pop(beating.name, None)
        self.drained |= beating.draining
        # Told again for a while: the answer may not have arrived. What a rollback has opened again is not told.
        beating.stop = {task_id: until for task_id, until in beating.stop.items() if until > beating.seen}
        rows = [(task_id, self._row(*split_id(task_id))) for task_id in beating.stop]
        return [task_id for task_id, row in rows if row is None or row[1] in END_STATES], beating.drain

    def leave(self, session: Any) -> int:
        """End a session in peace: what it holds goes back, no attempt is counted."""
        leaving = self._leases.sessions.get(rules.read_text(session, "session"))
        return 0 if leaving is None else self._end_session(leaving, lost=False)

    def closed(self, connection: object) -> None:
        """A connection has closed: what was handed out on it goes back at once."""
        self.items.closed(connection)
        for session in [s for s in self._leases.sessions.values() if s.connection is connection]:
            self._end_session(session, lost=True)

    def grant(self, seconds: float) -> None:
        """Put off the end of every session: for so long nobody listened to what they said."""
        for session in self._leases.sessions.values():
            session.deadline += seconds

    def close(self) -> None:
        """Close the store; nothing is called any more."""
        self._copy.close()
        self.store.close()

    def take_sample(self) -> bool:
        """Once in ten seconds write what has changed meanwhile; returns whether it was time for that. In a turn of its own."""
        wall = self._clock.wall()
        if not self.gauges.is_due(wall):
            return False
        self.gauges.sample(wall, self._levels())
        return True

    def take_last_sample(self) -> None:
        """Write what was counted since: the master stops. In a turn of its own."""
        self.gauges.sample_the_rest(self._clock.wall(), self._levels())

    def has_ready(self) -> bool:
        """Whether there is anything to lease now, for whomever."""
        return not self._paused and self._backlog.best(None) is not None

    # Parts of the above

    def _levels(self) -> Levels:
        leased = len(self._leases)
        return Levels(self._counts["ready"] - leased, leased, self._counts["delayed"], len(self._workers()))

    def _session(self, name: Any, heard: float | None = None) -> Session:
        return self._leases.session(rules.read_text(name, "session"), self.now() if heard is None else heard)

    def _settle(self, entry: Entry, outcomes: OutcomeSeries, now: float, held: Held) -> None:
        """Take outcomes of tasks whose leases were just taken back."""
        if outcomes.seconds:
            self.gauges.count(entry.name, "run", entry.many, outcomes.seconds / entry.many)
        if outcomes.kind == "done":
            self._end_done(entry, outcomes.values, now, held)
        elif outcomes.kind == "released" and outcomes.delay <= 0:
            self._come_back(entry)
        else:
            for index, value in enumerate(outcomes.values):
                one = entry.part(index, index + 1)
                if outcomes.kind == "failed":
                    self._attempt_failed(one, value, outcomes.cause, held, outcomes.delay, outcomes.final)
                else:
                    self._waited.add(one.seq)
                    self._put_off(self._alone(one), outcomes.delay, one.attempts, "")

    def _note_progress(self, session: Session, told: dict[str, Progress]) -> None:
        for task_id, how in told.items():
            row = self._row(*split_id(task_id))
            held = None if row is None else self._leases.by_seq.get(row[0])
            if row is not None and held is not None and held.session is session:
                session.progress[row[0]] = how

    def _before_suspect(self, entry: Entry) -> int:
        """How many of these tasks may be lent together: those before the first that was lost too often."""
        if self._losses:
            for index in range(entry.many):
                if self._losses.get(entry.seq + index, 0) >= SUSPECT_AFTER:
                    return index
        return entry.many

    def _fair_share(self) -> int:
        # Near its end a job is spread over all workers instead of sitting in the first one's buffer.
        ready = self._counts["ready"] - len(self._leases)
        return max(1, -(-ready // max(1, len(self._leases.sessions))))
