"""What the queue has done lately, counted as it happens and kept as samples: what plots and monitoring show.

Counting is in memory and once for each series of tasks; what a turn has counted holds when the turn is committed. Every
`SAMPLE_SECONDS` in which anything has changed a sample is written to the disk, where older ones are made coarser; a master that
stops writes what it has counted into that of the seconds under way, and the next one adds to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import groupby
from math import ceil, floor, inf
from typing import NamedTuple

from master import sql
from master.store import Store
from taskyard.histogram import EMPTY, bucket
from taskyard.model import Kind, Sample
from taskyard.samples import merged

SAMPLE_SECONDS = 10.0
TIERS = ((2 * 3600.0, 60.0), (86400.0, 600.0), (14 * 86400.0, 0.0))
"""Samples that are older than so many seconds are put together to some of so many seconds (0: deleted): at most 720 of 10 s,
1,320 of a minute and 1,872 of ten minutes are kept, about 2 MB."""
THIN_SECONDS = 600.0
"""How often that is done."""
MOST_KINDS = 200
OTHERS = "(others)"
"""Counts together for the names beyond `MOST_KINDS`: whoever makes up a name for each task gets no counter for each."""
COUNTED = ("submitted", "done", "failed", "cancelled", "attempts_failed")
TIMED = ("wait", "run")


class Levels(NamedTuple):
    """How much there is now."""

    ready: int
    leased: int
    delayed: int
    workers: int


class _Counts:
    """Of one name since the master's start, or of all since the last sample."""

    def __init__(self) -> None:
        self.many = dict.fromkeys(COUNTED, 0)
        self.buckets = {what: list(EMPTY) for what in TIMED}
        self.seconds = dict.fromkeys(TIMED, 0.0)


class Gauges:
    """Counters by task name, and the samples of all names together."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._counted: list[tuple[str, str, int, float]] = []
        """In this turn: name, what, how many, and of `TIMED` the seconds of each."""
        self._kinds: dict[str, _Counts] = {}
        self._since = _Counts()
        """The last sample."""
        self._levels: Levels | None = None
        """As they were in the last sample."""
        self._sampled: Levels | None = None
        """Of the sample that this turn has written."""
        self._period: int | None = None
        """That of the last sample, counted from the epoch; None: the first look is not over."""
        self._thin_at = 0.0

    def count(self, name: str, what: str, many: int = 1, seconds: float = 0.0) -> None:
        """Note within a turn: one of `COUNTED`, or of `TIMED` with the seconds that each of so many tasks took."""
        self._counted.append((name, what, many, seconds))

    def keep(self) -> None:
        """The turn is committed."""
        for name, what, many, seconds in self._counted:
            both = self._kinds[name] if name in self._kinds else self._new_kind(name), self._since
            if what in TIMED:
                index, spent = bucket(seconds), many * seconds if seconds > 0 else 0.0
                for counts in both:
                    counts.buckets[what][index] += many
                    counts.seconds[what] += spent
            else:
                for counts in both:
                    counts.many[what] += many
        self._counted.clear()
        if self._sampled is not None:
            self._levels, self._sampled = self._sampled, None
            self._since = _Counts()

    def undo(self) -> None:
        """The turn has changed nothing: what a sample had is in the next one."""
        self._counted.clear()
        self._sampled = None

    def kinds(self) -> list[Kind]:
        """Each name's counters."""
        return [
            Kind._make((name, *counts.many.values(), *map(tuple, counts.buckets.values()), *counts.seconds.values()))
            for name, counts in self._kinds.items()
        ]

    def _new_kind(self, name: str) -> _Counts:
        return self._kinds.setdefault(name if len(self._kinds) < MOST_KINDS else OTHERS, _Counts())

    # Samples

    def is_due(self, wall: float) -> bool:
        """Whether the last period of `SAMPLE_SECONDS` is over (epoch s)."""
        period = floor(wall / SAMPLE_SECONDS)
        if self._period is None:
            self._period = period
        return period != self._period

    def sample(self, wall: float, levels: Levels) -> None:
        """Write what has changed since the last one, in a turn of its own."""
        self._period = floor(wall / SAMPLE_SECONDS)
        if levels != self._levels or self._has_counted():
            self._add(self._period * SAMPLE_SECONDS, levels)
        if wall >= self._thin_at or wall < self._thin_at - THIN_SECONDS:
            self._thin(wall)
            self._thin_at = wall + THIN_SECONDS

    def sample_the_rest(self, wall: float, levels: Levels) -> None:
        """Write what was counted since the last one, in a turn of its own: the master stops."""
        if self._has_counted():
            self._add((floor(wall / SAMPLE_SECONDS) + 1) * SAMPLE_SECONDS, levels)

    def _has_counted(self) -> bool:
        return any(self._since.many.values()) or any(map(any, self._since.buckets.values()))

    def _add(self, at: float, levels: Levels) -> None:
        """Put a sample behind what there is of the same time: the clock was set back, or a master has stopped in it."""
        many, buckets = self._since.many, self._since.buckets
        counted = [many[what] for what in ("submitted", "done", "failed", "cancelled")]
        new = Sample._make((at, SAMPLE_SECONDS, *levels, *counted, *map(tuple, buckets.values())))
        self._write(merged([*self._read(at - 1, at), new], at, SAMPLE_SECONDS))
        self._sampled = levels

    def history(self, since: float, step: float, wall: float) -> list[Sample]:
        """Samples behind ``since``, put together to steps of so many seconds that are over."""
        # A step is over when its last sample is written, or whoever goes on behind it would never be told of that.
        until = wall if self._period is None else min(wall, self._period * SAMPLE_SECONDS)
        if step <= SAMPLE_SECONDS:
            return self._read(since, until)
        begin = floor(since / step) * step
        steps = _steps(self._read(begin, until), step)
        return [merged(samples, end, step) for end, samples in steps if since < end <= until]

    def _thin(self, wall: float) -> None:
        """Make coarser what is old; a step is put together once all of it is."""
        for age, step in TIERS:
            old = wall - age
            if not step:
                self._store.change(sql.REMOVE_SAMPLES, old)
                continue
            for end, samples in _steps(self._read(0.0, floor(old / step) * step, step), step):
                for sample in samples:
                    self._store.change(sql.REMOVE_SAMPLE, sample.at)
                self._write(merged([*self._read(end - 1, end), *samples], end, step))

    def _read(self, after: float, until: float, shorter_than: float = inf) -> list[Sample]:
        rows = self._store.rows(sql.SAMPLES, after, until, shorter_than)
        return [Sample._make((*row[:10], tuple(json.loads(row[10])), tuple(json.loads(row[11])))) for row in rows]

    def _write(self, sample: Sample) -> None:
        self._store.change(sql.PUT_SAMPLE, *sample[:10], json.dumps(sample.wait), json.dumps(sample.run))


def _steps(samples: Iterable[Sample], step: float) -> Iterator[tuple[float, list[Sample]]]:
    """Samples by the end of the step in which they are."""
    for number, group in groupby(samples, key=lambda sample: ceil(sample.at / step)):
        yield number * step, list(group)
