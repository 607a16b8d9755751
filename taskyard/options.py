"""How a task is to be run: the options of ``@task(...)`` and of `Cluster.options`."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from taskyard.calls import names_of
from taskyard.errors import SettingsError
from taskyard.model import BY_CAUSE, MISSED, Missed, Schedule, Task

Seconds = float | timedelta
Kinds = tuple[type[BaseException], ...] | type[BaseException] | None
RETRIES_ON = 3
"""``retries`` where only ``retry_on`` is given."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Of a task, or of some calls of it. Times are seconds or timedeltas.

    Raises `SettingsError` for what makes no sense.
    """

    name: str = ""
    """Under which it is registered; else the function's."""
    priority: int = 0
    """Higher goes first."""
    retries: int = BY_CAUSE
    """How many attempts may follow a failed one."""
    backoff: Seconds = 1.0
    """Before the first retry; doubled for each further one."""
    retry_on: Kinds = None
    """Exceptions after which another attempt may follow; None: all."""
    time_limit: Seconds = 0.0
    """How long one attempt may run."""
    delay: Seconds = 0.0
    """From the submit until it may begin."""
    at: datetime | None = None
    """Instead of ``delay``: the moment from which it may begin; one without a time zone is local time."""
    expiry: Seconds = 0.0
    """From the submit, within which it must begin."""
    key: str = ""
    """Idempotency key: of the calls of a task with one key only the first is run, and all have its result."""
    result_ttl: Seconds = 7 * 86400.0
    """How long its result is kept."""
    cron: str = ""
    """Five fields: when it is enqueued by itself."""
    every: Seconds = 0.0
    """Instead of ``cron``: how often."""
    timezone: str = "UTC"
    """In which ``cron`` is read."""
    missed: Missed = "latest"
    """Which moments are made up for, of those at which there was no master: the latest one, all, or (skip) none."""

    def __post_init__(self) -> None:
        for name in ("name", "key", "cron", "timezone"):
            if not isinstance(getattr(self, name), str):
                raise SettingsError(f"{name}={getattr(self, name)!r}: expected text")
        for name in ("backoff", "time_limit", "delay", "expiry", "result_ttl", "every"):
            value = getattr(self, name)
            seconds = _seconds(value)
            if type(seconds) not in (int, float) or not 0 <= seconds < 1e10:
                raise SettingsError(f"{name}={value!r}: expected seconds, zero or more, or a timedelta")
            object.__setattr__(self, name, float(seconds))
        for name in ("priority", "retries"):
            if type(getattr(self, name)) is not int:
                raise SettingsError(f"{name}={getattr(self, name)!r}: expected a whole number")
        kinds = _kinds(self.retry_on)
        if kinds is not None:
            if not isinstance(kinds, tuple) or not all(
                isinstance(kind, type) and issubclass(kind, BaseException) for kind in kinds
            ):
                raise SettingsError(f"retry_on={self.retry_on!r}: expected an exception class, or a tuple of them")
            object.__setattr__(self, "retry_on", tuple(kinds))
            if self.retries == BY_CAUSE:
                object.__setattr__(self, "retries", RETRIES_ON)
        if self.at is not None and not isinstance(self.at, datetime):
            raise SettingsError(f"at={self.at!r}: expected a datetime")
        if self.at is not None and self.delay:
            raise SettingsError("a task has a delay or a moment (at), not both")
        self._check_schedule()

    def _check_schedule(self) -> None:
        if self.missed not in MISSED:
            raise SettingsError(f"missed={self.missed!r}: expected one of {', '.join(MISSED)}")
        if self.cron and self.every:
            raise SettingsError("a task has a cron line or an interval (every), not both")
        if self.cron or self.every:
            from taskyard.moments import check

            check(self.spec, self.timezone)

    @property
    def spec(self) -> str:
        """``cron`` or ``every`` as a schedule's text; empty: neither."""
        return f"every {self.every:.15g}" if self.every else self.cron

    def changed(self, **options: Any) -> Options:
        """These options with others laid over them. Raises TypeError for one that there is not, and `SettingsError`."""
        return replace(self, **options)

    def task(self, task_id: str, job: str, payload: bytes) -> Task:
        """A task to submit now, with these options."""
        delay = max(0.0, self.at.timestamp() - time.time()) if self.at is not None else self.delay
        return Task(
            task_id,
            job,
            self.name,
            payload,
            self.priority,
            _seconds(delay),
            self.retries,
            _seconds(self.backoff),
            _seconds(self.time_limit),
            _seconds(self.result_ttl),
            _seconds(self.expiry),
        )

    def retry_names(self) -> tuple[str, ...] | None:
        """``retry_on`` by names; None: not given."""
        kinds = _kinds(self.retry_on)
        return None if kinds is None else names_of(kinds)

    def schedule(self, payload: bytes) -> Schedule | None:
        """What a worker announces of a periodic task; None: it is not periodic."""
        if not self.spec:
            return None
        task = self.task("", "", payload)
        return Schedule(
            self.name,
            self.spec,
            self.timezone,
            self.missed,
            payload,
            task.priority,
            task.retries,
            task.backoff,
            task.time_limit,
            task.result_ttl,
            task.expiry,
        )


def _seconds(value: Seconds) -> float:
    return value.total_seconds() if isinstance(value, timedelta) else value


def _kinds(kinds: Kinds) -> tuple[type[BaseException], ...] | None:
    return (kinds,) if isinstance(kinds, type) else kinds
