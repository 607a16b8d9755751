"""Series of tasks on the disk: one row for what they share, one for their payloads, one for each run of them that is done.

A task leaves its series for a row of its own when it differs from the others (see `master.sql`). Here are the statements
only; what they mean for counts, leases and the backlog is `master.moves`' affair.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, cast, overload

from master import sql
from master.leases import Held
from master.ready import Entry, Key
from master.store import Store
from taskyard import wire
from taskyard.series import TaskSeries, join_id

Row = tuple[Any, ...]


class Series(NamedTuple):
    """A row of ``series``."""

    seq: int
    last: int
    prefix: str
    first: int
    job: str
    name: str
    rank: int
    retries: int
    backoff: float
    time_limit: float
    result_ttl: float
    submitted: float
    open: int
    kept: int

    def id_of(self, seq: int) -> str:
        """The id of one of its tasks."""
        return join_id(self.prefix, self.first + seq - self.seq)

    def entry(self, begin: int, end: int, payloads: list[bytes]) -> Entry:
        """Its ready tasks from seq ``begin`` up to ``end``; ``payloads``: of all its tasks."""
        data = payloads[begin - self.seq : end - self.seq]
        number = self.first + begin - self.seq
        return Entry(
            self.rank,
            begin,
            self.prefix,
            number,
            self.job,
            self.name,
            data,
            self.time_limit,
            0,
            series=self.seq,
            many=end - begin,
            since=self.submitted,
        )


class Place(NamedTuple):
    """Where a task of a series stands."""

    series: Series
    seq: int
    done: bool
    expires: float = 0.0

    @property
    def state(self) -> str:
        """As the disk has it: a leased one is ready."""
        return "done" if self.done else "ready"


class SeriesRows(Sequence[Row]):
    """A run of a series' tasks as `sql.FIND_ONE` tells of each; made when it is looked at."""

    def __init__(self, series: Series, begin: int, end: int, state: str) -> None:
        self.begin, self.end = begin, end
        self._series = series
        self._seqs = range(begin, end)
        self._state = state

    def behind(self, first: int) -> SeriesRows:
        """Those from seq ``first`` on."""
        return SeriesRows(self._series, max(first, self.begin), self.end, self._state)

    def __len__(self) -> int:
        return len(self._seqs)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | Sequence[Row]:
        if isinstance(index, slice):
            return [self[one] for one in range(*index.indices(len(self)))]
        series, seq = self._series, self._seqs[index]
        state, attempts = self._state, int(self._state == "done")
        return seq, series.id_of(seq), series.job, series.name, state, -series.rank, attempts, "", series.submitted


class SeriesStore:
    """All series of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: tuple[int, list[bytes]] = (0, [])
        """Seq and payloads of the series that was last read: whoever wants one of them mostly wants its neighbours too."""

    # Tasks come

    def overlaps(self, prefix: str, first: int, many: int) -> bool:
        """Whether a series has one of these ids."""
        before = self._store.row(sql.SERIES_BEFORE, prefix, first + many - 1)
        return before is not None and before[3] + before[1] - before[0] >= first

    def add(self, seq: int, tasks: TaskSeries, now: float) -> Entry:
        """Keep a series whose ids nobody has, its tasks from ``seq`` on; returns it as ready."""
        many, payloads = len(tasks.payloads), list(tasks.payloads)
        prefix, first, job, name, _, priority, _, retries, backoff, time_limit, result_ttl, _ = tasks
        rules = (-priority, retries, backoff, time_limit, result_ttl)
        series = Series(seq, seq + many - 1, prefix, first, job, name, *rules, now, many, many)
        self._store.change(sql.ADD_SERIES, *series)
        self._store.change(sql.ADD_PAYLOADS, seq, pickle.dumps(payloads, protocol=5))
        return series.entry(seq, seq + many, payloads)

    # What is ready

    def ready(self, name: str, after: Key, limit: int, leased: Container[int]) -> tuple[list[Entry], Key | None]:
        """Ready tasks of a name behind a key, some ``limit`` of them, and the key of the last where there may be more."""
        entries: list[Entry] = []
        tasks = 0
        for row in self._store.each(sql.READY_SERIES, name, *after):
            series = Series(*row)
            payloads = self._payloads(series.seq)
            for start, end, done in self.runs(series):
                for run in () if done else without(start, end, leased):
                    entries.append(series.entry(*run, payloads))
                    tasks += run[1] - run[0]
            if tasks >= limit:
                return entries, (series.rank, series.last)
        return entries, None

    def _payloads(self, seq: int) -> list[bytes]:
        if self._last[0] != seq:
            self._last = seq, wire.load(self._store.rows(sql.PAYLOADS, seq)[0][0])
        return self._last[1]

    # Looking things up

    def find(self, prefix: str, number: int) -> Place | None:
        """A task of a series by its id, unless it was forgotten or has a row of its own."""
        row = self._store.row(sql.SERIES_BEFORE, prefix, number)
        if row is None:
            return None
        series = Series(*row)
        seq = series.seq + number - series.first
        if seq > series.last:
            return None
        part = self._store.row(sql.PART_OF, seq)
        if part is None or part[1] < seq:
            return Place(series, seq, False)
        _, _, done, expires = part
        return Place(series, seq, True, expires) if done else None

    def payload(self, place: Place) -> bytes:
        """Of an open task."""
        return self._payloads(place.series.seq)[place.seq - place.series.seq]

    def _value(self, seq: int) -> bytes:
        ((first, data),) = self._store.rows(sql.VALUES_OF, seq)
        return cast(bytes, wire.load(data)[seq - first])

    def by_seq(self, seq: int) -> Series:
        """A series that there is."""
        return Series(*self._store.rows(sql.SERIES_BY_SEQ, seq)[0])

    def all(self, job: str | None) -> Iterator[Series]:
        """Series of a job (None: all), by age."""
        return map(Series._make, self._store.rows(sql.ALL_SERIES) if job is None else self._store.rows(sql.SERIES_OF_JOB, job))

    def runs(self, series: Series) -> Iterator[tuple[int, int, bool]]:
        """Its tasks that are open, or done and kept: ranges of seqs, and whether they are done."""
        begin = series.seq
        for seq, last, done in self._store.rows(sql.PARTS, series.seq, series.last):
            if begin < seq:
                yield begin, seq, False
            if done:
                yield seq, last + 1, True
            begin = last + 1
        if begin <= series.last:
            yield begin, series.last + 1, False

    def show(self, prefix: str, number: int, payloads: bool) -> Row | None:
        """As `sql.SHOW` tells it of a task with a row of its own."""
        place = self.find(prefix, number)
        if place is None:
            return None
        series, seq, done, expires = place
        value = self._value(seq) if done else b""
        payload = self.payload(place) if payloads and not done else b""
        ended = expires - series.result_ttl if done else 0.0
        rules_of_it = series.retries, series.backoff, series.time_limit
        (found,) = SeriesRows(series, seq, seq + 1, place.state)
        return (*found, 0.0, 0.0, ended, expires, *rules_of_it, payload, value)

    def results(self, job: str, after: int) -> Iterator[Row]:
        """Done tasks of a job behind a cursor: rows of `taskyard.series.ResultSeries`."""
        for ended, many, prefix, first, data in self._store.each(sql.RESULTS_OF_PARTS, job, after):
            values = wire.load(data)
            read = max(0, after - (ended - many))
            yield ended - many + 1 + read, prefix, first + read, "done", values[read:], "", 1

    # Tasks leave

    def end_done(self, seq: int, values: Sequence[bytes], series: int, cursor: int, now: float, held: Held) -> None:
        """The tasks from ``seq`` on have returned these values; ``cursor``: of the last, ``held``: their lease."""
        data = pickle.dumps(list(values), protocol=5)
        self._store.change(
            sql.ADD_DONE, seq, seq + len(values) - 1, cursor, data, now, held.session.host, held.session.name, held.at, series
        )
        self._close(series, len(values), 0)

    def give_row(self, seq: int, payload: bytes, series: int) -> None:
        """Give an open task a row of its own."""
        self._store.change(sql.GIVE_ROW, seq, seq, payload, series)
        self._store.change(sql.ADD_GONE, seq, seq, series)
        self._close(series, 1, 1)

    def forget(self, job: str) -> Counter[str]:
        """Forget the values of a job's done tasks; returns how many there were, by job."""
        return self._forgotten(self._store.rows(sql.FORGET_PARTS, job))

    def expire(self, now: float, limit: int) -> Counter[str]:
        """The same for what has outlived its time (epoch s), at most ``limit`` parts."""
        return self._forgotten(self._store.rows(sql.EXPIRE_PARTS, now, limit))

    def _forgotten(self, rows: Iterable[Row]) -> Counter[str]:
        jobs: Counter[str] = Counter()
        for series, job, many in rows:
            jobs[job] += many
            self._close(series, 0, many)
        return jobs

    def _close(self, series: int, open_ones: int, kept: int) -> None:
        """So many tasks are not open any more, and so many not kept: drop what that leaves without use."""
        ((last, now_open, now_kept),) = self._store.rows(sql.CLOSE_TASKS, open_ones, kept, series)
        if open_ones and not now_open:
            self._store.change(sql.DROP_PAYLOADS, series)
        if not now_kept:
            self._store.change(sql.REMOVE_SERIES, series)
            self._store.change(sql.REMOVE_PARTS, series, last)


def without(begin: int, end: int, leased: Container[int]) -> Iterator[tuple[int, int]]:
    """A range of seqs without those that are leased, as ranges."""
    for seq in range(begin, end):
        if seq in leased:
            if begin < seq:
                yield begin, seq
            begin = seq + 1
    if begin < end:
        yield begin, end
