"""The queue's semantics: the verbs of the contract and one clock. docs/contract.md has the state picture.

Single-threaded: `master.committer` calls the verbs and decides when to commit. A verb changes memory and the open
transaction alike; after `commit` both hold, after `rollback` neither.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import monotonic, time
from typing import Any, NamedTuple, cast

from master import rules, sql
from master.backlog import Backlog
from master.items import Items
from master.leases import Held, Leases, Session
from master.ready import Entry
from master.store import Store
from taskyard.errors import BadRequest, QueueFull
from taskyard.model import END_STATES, OPEN_STATES, Found, Outcome, Result, State

SUSPECT_AFTER = 3
"""A task that was lost so many times together with its worker is leased alone from then on; lost again, an attempt is counted."""
REPLY_BYTES = 8 * 1024 * 1024
"""Payloads or values that one reply holds, about; at least one goes whatever its size."""
LONG_OF_RESULT = tuple(map(Result._fields.index, ("value", "cause")))
LONG_OF_FOUND = (Found._fields.index("cause"),)
"""Fields that may be long."""
REPLY_ROWS = 50_000
"""Results or tasks that one reply holds."""
CHORES_LIMIT = 1000
"""Rows that one turn of each chore changes, so that callers don't wait for a long one."""


class Clock(NamedTuple):
    """Wall time for what is stored, monotonic time for what is waited for; tests pass their own."""

    wall: Callable[[], float] = time
    monotonic: Callable[[], float] = monotonic


class Engine:
    """All verbs of `taskyard.contract.Queue`; those that wait return what there is now.

    Arguments come from the wire as they are; replies are plain data. Raises what the contract says for each verb.
    """

    def __init__(
        self,
        store: Store,
        *,
        lease_time: float = 30.0,
        bound: int = 10_000_000,
        payload_limit: int = 2**24,
        clock: Clock | None = None,
    ) -> None:
        self.store = store
        self.payload_limit = payload_limit
        self._bound = bound
        self._clock = clock or Clock()
        self._leases = Leases(lease_time)
        self._backlog = Backlog(store, self._leases.seqs)
        self.items = Items(store, bound, payload_limit)
        self._losses: dict[str, int] = {}
        self._counts: dict[str, int] = dict.fromkeys(("ready", "delayed", *END_STATES), 0)
        self._counts.update(cast("list[tuple[str, int]]", store.rows(sql.COUNT_STATES)))
        self._kept_counts = dict(self._counts)
        self._seq: int = store.rows(sql.LAST_SEQ)[0][0]
        self._cursor: int = store.rows(sql.LAST_CURSOR)[0][0]
        self._unknown_since: dict[str, float] = {}
        self._next_chores = 0.0
        self.jobs_ended: set[str] = set()
        """Jobs that got a result since the committer last looked."""
        self.drained = False
        """Whether a session has said, since the committer last looked, that it takes no more."""

    # Clients

    def submit(self, rows: Any) -> int:
        """Take tasks; see the contract."""
        tasks = rules.read_tasks(rows, self.payload_limit)
        if self._open() + len(tasks) > self._bound:
            new = sum(self.store.row(sql.BY_ID, task_id) is None for task_id in {task.id for task in tasks})
            if new and self._open() + new > self._bound:
                raise QueueFull(f"the queue holds {self._open():,} open tasks of at most {self._bound:,} (MASTER_BOUND)")
        now, first = self._clock.wall(), self._seq + 1
        self._seq += len(tasks)
        added = self.store.change_many(
            sql.ADD_TASK,
            [
                (seq, t.id, t.job, t.name, t.payload, -t.priority, t.retries, t.backoff, t.time_limit, t.result_ttl)
                + (("delayed", now + t.delay) if t.delay > 0 else ("ready", None))
                for seq, t in enumerate(tasks, first)
            ],
        )
        numbered: list[tuple[int, Any]] = list(enumerate(tasks, first))
        if added < len(tasks):  # some ids were known: only rows under a number of this call are new
            numbered = [(seq, t) for seq, t in numbered if self.store.row(sql.BY_ID, t.id)[0] == seq]  # type: ignore[index]
        for seq, t in numbered:
            if t.delay > 0:
                self._counts["delayed"] += 1
            else:
                self._backlog.push(Entry(-t.priority, seq, t.id, t.job, t.name, t.payload, t.time_limit, 0))
                self._counts["ready"] += 1
        return added

    def results(self, job: Any, after: Any, limit: Any) -> list[tuple[Any, ...]]:
        """Results of a job behind a cursor, at most `REPLY_BYTES` of them."""
        rules.read_text(job, "job")
        limit = min(rules.read_int(limit, "limit", 1), REPLY_ROWS)
        return _page(self.store.rows(sql.RESULTS, job, rules.read_int(after, "after"), limit), *LONG_OF_RESULT)

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

    def find(self, state: Any, job: Any, limit: Any, after: Any) -> list[tuple[Any, ...]]:
        """Tasks in a state, oldest first, skipping ``after``."""
        limit, after = min(rules.read_int(limit, "limit", 1), REPLY_ROWS), rules.read_int(after, "after")
        rules.read_text(state, "state")
        if job is not None:
            rules.read_text(job, "job")
        if state == "leased":
            held = [self.store.row(sql.FIND_ONE, task_id) for task_id in self._leases.ids()]
            rows = [(*row[:3], state, *row[4:]) for row in held if row and job in (None, row[1])]
            return _page(rows[after : after + limit], *LONG_OF_FOUND)
        if state not in (*OPEN_STATES, *END_STATES):
            raise BadRequest(f"no state {state!r}; there are {', '.join((*OPEN_STATES, *END_STATES))}")
        # A leased task's row says ready; as many more are read as may have to be left out.
        margin = len(self._leases) if state == "ready" else 0
        many = min(limit + after + margin, 2**63 - 1) if margin else limit
        found = self.store.rows(sql.FIND, state, job, job, many, 0 if margin else after)
        if margin:
            found = [row for row in found if self._leases.get(row[0]) is None][after:]
        return _page(found[:limit], *LONG_OF_FOUND)

    def retry(self, ids: Any) -> int:
        """Move failed tasks back to ready, their attempts forgotten."""
        retried = 0
        for task_id in rules.read_names(ids, "ids"):
            for (seq,) in self.store.rows(sql.RETRY, task_id):
                self._move("failed", "ready")
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

    def workers(self) -> list[tuple[Any, ...]]:
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
            )
            for session in self._workers()
        ]

    # Workers

    def lease(
        self, connection: object, session: Any, limit: Any, names: Any, asked: float | None = None
    ) -> list[tuple[Any, ...]] | None:
        """Lend what is ready, the first by priority then age; None while there is nothing (an empty list: drained).

        ``asked``: when the call came, by `now`, for one that has waited. That it waits is no sign of life, and a session
        that was not heard of for a lease time is lent nothing.
        """
        asking = self._session(session, asked)
        if asking.deadline <= self.now():
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
            window = self._backlog.best(names)
            if window is None:
                break
            entry = cast(Entry, window.first())
            alone = bool(self._losses) and self._losses.get(entry.id, 0) >= SUSPECT_AFTER
            if alone and asking.ids:
                break
            payload = entry.payload
            if payload is None:
                payload = self.store.rows(sql.PAYLOAD, entry.seq)[0][0]
            window.pop()
            token = self._leases.lend(entry, asking)
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
                self.jobs_ended.add(held.entry.job)
            elif outcome.kind == "failed":
                self._attempt_failed(held.entry, outcome.value, outcome.cause, outcome.delay)
            elif outcome.delay > 0:
                self.store.change(sql.DELAY, now + outcome.delay, held.entry.attempts, "", held.entry.seq)
                self._move("ready", "delayed")
            else:
                self._backlog.push(held.entry)
        if done:
            self.store.change_many(sql.END_DONE, done.values())
            self._move("ready", "done", len(done))
            if self._losses:
                for outcome in outcomes:
                    self._losses.pop(outcome.id, None)
        return counted

    def heartbeat(self, session: Any, info: Any) -> list[str]:
        """Keep the session's leases; returns which of its tasks were cancelled meanwhile."""
        beating = self._session(session)
        beating.info = rules.read_info(info)
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

    # The clock

    def now(self) -> float:
        """Monotonic seconds; from any thread."""
        return self._clock.monotonic()

    def tick(self) -> float:
        """Do what is due; returns after how many seconds to call again."""
        now, wall = self.now(), self._clock.wall()
        if now < self._next_chores:
            return float(self._next_chores - now)
        for session in [s for s in self._leases.sessions.values() if s.deadline <= now]:
            self._lost(session)
        due = self.store.rows(sql.DUE, wall, CHORES_LIMIT)
        for (seq,) in due:
            if self.store.change(sql.MAKE_READY, seq):
                self._move("delayed", "ready")
                self._backlog.push_row(seq)
        expired = self.store.rows(sql.NEXT_EXPIRY)[0][0]
        if expired is not None and expired <= wall:
            self._deleted(self.store.rows(sql.EXPIRE, wall, CHORES_LIMIT))
        self._fail_unknown(now)
        pause = 0.0 if len(due) == CHORES_LIMIT else 0.25
        next_due = self.store.rows(sql.NEXT_DUE)[0][0]
        if next_due is not None:
            pause = min(pause, max(0.0, next_due - wall))
        self._next_chores = now + pause
        return pause

    def grant(self, seconds: float) -> None:
        """Put off the end of every session: for so long nobody listened to what they said."""
        for session in self._leases.sessions.values():
            session.deadline += seconds

    def commit(self) -> bool:
        """Make the changes durable; returns whether there were any. Raises `StoreFull`, `StoreBroken`."""
        changed = self.store.commit()
        self._leases.keep()
        self.items.keep()
        self._kept_counts.update(self._counts)
        return changed

    def rollback(self) -> None:
        """Take back all changes since the last commit."""
        self.store.rollback()
        self._leases.undo()
        self._counts.update(self._kept_counts)
        self._backlog.reset()
        self.items.reset()

    def has_ready(self) -> bool:
        """Whether there is anything to lease, for whomever."""
        return self._backlog.best(None) is not None

    # Parts of the above

    def _open(self) -> int:
        return self._counts["ready"] + self._counts["delayed"]

    def _workers(self) -> list[Session]:
        return [session for session in self._leases.sessions.values() if session.info]

    def _session(self, name: Any, heard: float | None = None) -> Session:
        return self._leases.session(rules.read_text(name, "session"), self.now() if heard is None else heard)

    def _fair_share(self) -> int:
        # Near its end a job is spread over all workers instead of sitting in the first one's buffer.
        ready = self._counts["ready"] - len(self._leases)
        return max(1, -(-ready // max(1, len(self._leases.sessions))))

    def _move(self, before: str, after: str, many: int = 1) -> None:
        self._counts[before] -= many
        self._counts[after] += many

    def _deleted(self, states: Sequence[tuple[Any, ...]]) -> int:
        if states:
            self.store.change(sql.KEEP_CURSOR, self._cursor)
        for (state,) in states:
            self._counts[state] -= 1
        return len(states)

    def _end(self, row: Sequence[Any], state: State, value: bytes, cause: str, attempts: int) -> None:
        """Write a task's one end; ``row``: as `sql.BY_ID` returns it, of a task that is open and not leased."""
        seq, before, job, name = row[:4]
        self._cursor += 1
        self.store.change(sql.END, state, self._cursor, value, cause, attempts, self._clock.wall(), seq)
        self._move(before, state)
        self._backlog.remove(name, seq)
        self.jobs_ended.add(job)

    def _settle_late(self, outcome: Outcome) -> bool:
        """The lease was lost, the work is done: its result counts if the task has none yet."""
        row = self.store.row(sql.BY_ID, outcome.id)
        if row is None or row[1] in END_STATES:
            return False
        self._leases.take_back(outcome.id)
        self._end(row, "done", outcome.value, "", row[4] + 1)
        self._losses.pop(outcome.id, None)
        return True

    def _attempt_failed(self, entry: Entry, value: bytes, cause: str, delay: float = -1.0) -> None:
        """Count an attempt of a task that is not leased any more; its row says ready."""
        attempts = entry.attempts + 1
        retries, backoff, _ = self.store.rows(sql.RETRY_RULES, entry.seq)[0]
        if not rules.may_retry(retries, attempts, cause):
            self._losses.pop(entry.id, None)
            self._end((entry.seq, "ready", entry.job, entry.name), "failed", value, cause, attempts)
            return
        pause = delay if delay >= 0 else rules.pause_before_retry(backoff, attempts)
        self.store.change(sql.DELAY, self._clock.wall() + pause, attempts, cause, entry.seq)
        self._move("ready", "delayed")
        self._next_chores = 0.0

    def _lost(self, session: Session) -> None:
        del self._leases.sessions[session.name]
        self._give_back(session, lost=True)

    def _give_back(self, session: Session, lost: bool) -> int:
        """End all leases of a session; those of a lost one are remembered as losses."""
        all_held = list(self._leases.held_by(session))
        for held in all_held:
            entry = cast(Held, self._leases.take_back(held.entry.id)).entry
            if lost and session.alone == entry.id:
                self._attempt_failed(entry, b"", "worker lost: it was running this task alone")
                continue
            if lost:
                self._losses[entry.id] = self._losses.get(entry.id, 0) + 1
            self._backlog.push(entry)
        return len(all_held)

    def _fail_unknown(self, now: float) -> None:
        """Fail tasks whose name no worker has known for a lease time; without any worker they wait."""
        workers = self._workers()
        known = {name for session in workers for name in session.info["tasks"]}
        waiting = [name for name in self._backlog.names() if name not in known] if workers else []
        self._unknown_since = {name: self._unknown_since.get(name, now) for name in waiting}
        for name, since in self._unknown_since.items():
            if now - since < self._leases.lease_time:
                continue
            cause = f"unknown task: no worker knows {name!r}; they know {', '.join(sorted(known)) or 'none'}"
            for entry in self._backlog.take(name, CHORES_LIMIT):
                self._losses.pop(entry.id, None)
                self._end((entry.seq, "ready", entry.job, entry.name), "failed", b"", cause, entry.attempts)


def _page(rows: list[tuple[Any, ...]], *fields: int) -> list[tuple[Any, ...]]:
    """As many of the rows as one reply may hold, one at least; ``fields``: those that may be long."""
    size = 0
    for index, row in enumerate(rows):
        for field in fields:
            size += len(row[field])
        if size > REPLY_BYTES and index:
            return rows[:index]
    return rows
