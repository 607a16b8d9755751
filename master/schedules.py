"""Periodic tasks: which moments of theirs are due, each once, over restarts and changes of the clock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice, takewhile
from math import inf
from typing import Any, NamedTuple

from master import sql
from master.store import Store
from taskyard.errors import SettingsError
from taskyard.log import get_logger
from taskyard.model import Schedule, Task
from taskyard.moments import moments

MISSED_SECONDS = 60.0
"""With ``missed="skip"`` a moment that is older was missed."""
MOMENTS_LIMIT = 1000
"""Of one schedule that are dealt with in one turn, so that callers don't wait for a long one."""
REFUSED_SECONDS = 1.0
"""A moment for whose task there is no room is tried again after so long."""

logger = get_logger("master")


class Kept(NamedTuple):
    """A schedule and how far it has come; all in epoch seconds."""

    schedule: Schedule
    since: float
    """Moments up to this one are dealt with. It never goes back, so a clock that does repeats nothing."""
    last: float
    """The last moment that was enqueued; 0: none yet."""
    next: float


class Schedules:
    """The schedules on the disk, with the next moment of each in memory."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kept: dict[str, Kept] = {}
        self._silent_since: dict[str, float] = {}  # monotonic s since which no worker has announced it
        self._refused = False
        self.reset()

    def reset(self) -> None:
        """Forget what is in memory; the disk knows it all."""
        self._kept = {}
        for row in self._store.rows(sql.SCHEDULES):
            schedule = Schedule(*row[:-2])
            since, last = row[-2:]
            self._kept[schedule.name] = Kept(schedule, since, last, _next(schedule, since))

    def announce(self, announced: Mapping[str, Schedule], now: float, wall: float, lease_time: float) -> None:
        """Take what live workers announce; drop what none has announced for a lease time."""
        for name, schedule in announced.items():
            kept = self._kept.get(name)
            if kept is None or kept.schedule != schedule:
                last = kept.last if kept else 0.0
                # Another rhythm begins now: nothing of the past is made up for.
                since = kept.since if kept and kept.schedule[:3] == schedule[:3] else max(wall, last)
                self._store.change(sql.SET_SCHEDULE, *schedule, since, last)
                self._kept[name] = Kept(schedule, since, last, _next(schedule, since))
        self._silent_since = {name: self._silent_since.get(name, now) for name in self._kept if name not in announced}
        for name, since in self._silent_since.items():
            if now - since >= lease_time:
                self._store.change(sql.REMOVE_SCHEDULE, name)
                del self._kept[name]

    def wait_for_workers(self) -> None:
        """There is no worker now that could announce anything: all are kept."""
        self._silent_since = {}

    def due(self, wall: float, room: int) -> list[Task]:
        """Tasks of the moments that are due, at most ``room``; those moments are dealt with in this transaction."""
        tasks: list[Task] = []
        for name, (schedule, since, last, next_moment) in self._kept.items():
            if next_moment > wall:
                continue
            if len(tasks) >= room:
                if not self._refused:
                    logger.warning("periodic tasks wait for room: the queue holds as many as it may (MASTER_BOUND)")
                self._refused = True
                break
            due = list(islice(_due(schedule, since, wall), min(room - len(tasks), MOMENTS_LIMIT)))
            tasks += [task_of(schedule, moment) for moment in due]
            since, last = (due[-1], due[-1]) if due else (wall, last)
            self._store.change(sql.MOVE_SCHEDULE, since, last, name)
            self._kept[name] = Kept(schedule, since, last, _next(schedule, since))
        else:
            self._refused = False
        return tasks

    def next_moment(self, wall: float) -> float:
        """When to call `due` again, epoch seconds."""
        first = min((kept.next for kept in self._kept.values()), default=inf)
        return max(first, wall + REFUSED_SECONDS) if self._refused else first

    def told(self) -> list[tuple[Any, ...]]:
        """As `taskyard.model.ScheduleInfo` has them."""
        kept = self._kept.values()
        return [(*s[:4], job_of(s), last, 0.0 if following == inf else following) for s, _, last, following in kept]


def job_of(schedule: Schedule) -> str:
    """The job of a schedule's tasks."""
    return f"schedule-{schedule.name}"


def task_of(schedule: Schedule, moment: float) -> Task:
    """The task of a moment. Its id says which one it is, so that it is the same whoever enqueues it."""
    task_id = f"{job_of(schedule)}-{int(moment) if moment.is_integer() else moment}"
    name, _, _, _, payload, priority, retries, backoff, time_limit, result_ttl, expiry = schedule
    return Task(task_id, job_of(schedule), name, payload, priority, 0.0, retries, backoff, time_limit, result_ttl, expiry)


def _due(schedule: Schedule, since: float, wall: float) -> Iterator[float]:
    """Moments behind ``since`` up to now that are to be enqueued, oldest first."""
    if schedule.missed == "skip":
        since = max(since, wall - MISSED_SECONDS)
    if schedule.missed != "latest":
        return _between(schedule, since, wall)
    # Looks back step by step, so that a master that was away for a year does not count all its seconds.
    span = MISSED_SECONDS
    while True:
        found = list(_between(schedule, max(since, wall - span), wall))
        if found or wall - span <= since:
            return iter(found[-1:])
        span *= 60


def _between(schedule: Schedule, since: float, wall: float) -> Iterator[float]:
    return takewhile(lambda moment: moment <= wall, moments(schedule.spec, schedule.timezone, since))


def _next(schedule: Schedule, since: float) -> float:
    try:
        return next(moments(schedule.spec, schedule.timezone, since), inf)
    except SettingsError as error:  # it made sense to the release, or with the time zones, that took it
        logger.error("a periodic task never runs", task=schedule.name, error=str(error))
        return inf
