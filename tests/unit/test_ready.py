"""The window on what comes next: whatever happens, its first entry is the first of all that is ready."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from master.ready import START, Entry, Item, Key, ReadyWindow


def entry(rank: int, seq: int, many: int = 1) -> Entry:
    payloads = [b"%d" % (seq + n) for n in range(many)]
    return Entry(rank, seq, "task", seq, "job", "work", payloads, 0.0, 0, many=many)


class Disk:
    """Rows, as the database would bring them; ``out``: seqs that are leased, whose rows are still there."""

    def __init__(self) -> None:
        self.rows: dict[int, Entry] = {}
        self.out: set[int] = set()
        self.reads = 0

    def fetch(self, after: Key, limit: int) -> tuple[list[Entry], Key | None]:
        self.reads += 1
        found = sorted(row for row in self.rows.values() if row[:2] > after)[:limit]
        return [row for row in found if row.seq not in self.out], found[-1][:2] if len(found) == limit else None

    def ready(self) -> list[Entry]:
        return sorted(row for row in self.rows.values() if row.seq not in self.out)

    def add(self, rank: int) -> Entry:
        row = entry(rank, len(self.rows) + 1)
        self.rows[row.seq] = row
        return row


class WindowAgainstList(RuleBasedStateMachine):
    """A window of two tasks beside a sorted list; what was submitted together comes in one entry, as far as it is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.disk = Disk()
        self.window = ReadyWindow[Entry](self.fetch, 2)
        self.series: dict[int, int] = {}
        """First seq of its series, by each seq."""
        self.seq = 0

    def together(self, rows: list[Entry]) -> list[Entry]:
        """Tasks as entries: runs of the same series with consecutive seqs make one."""
        entries: list[Entry] = []
        for row in rows:
            last = entries[-1] if entries else None
            if last and last.seq + last.many == row.seq and self.series[last.seq] == self.series[row.seq]:
                entries[-1] = entry(last.rank, last.seq, last.many + 1)
            else:
                entries.append(row)
        return entries

    def fetch(self, after: Key, limit: int) -> tuple[list[Entry], Key | None]:
        rows, frontier = self.disk.fetch(after, limit)
        if frontier is not None:  # of a series all comes
            more = [row for row in self.disk.rows.values() if row[:2] > frontier and row.seq in self.series]
            more = [row for row in more if self.series[row.seq] == self.series[frontier[1]]]
            rows += [row for row in more if row.seq not in self.disk.out]
            frontier = max([frontier, *(row[:2] for row in more)])
        return self.together(sorted(rows)), frontier

    @rule(series=st.lists(st.tuples(st.integers(-2, 2), st.integers(1, 4)), max_size=4))
    def submit(self, series: list[tuple[int, int]]) -> None:
        for rank, many in series:
            first, self.seq = self.seq + 1, self.seq + many
            for seq in range(first, first + many):
                self.series[seq] = first
                self.disk.rows[seq] = entry(rank, seq)
            self.window.push(entry(rank, first, many))

    @precondition(lambda self: self.disk.ready())
    @rule(most=st.integers(1, 3))
    def lease(self, most: int) -> None:
        first = self.window.first()
        got = self.window.pop(most)
        assert first is not None
        assert got == first.part(0, min(most, first.many))
        expected = self.disk.ready()[: got.many]
        assert self.together(expected) == [got]
        self.disk.out.update(row.seq for row in expected)

    @precondition(lambda self: self.disk.out)
    @rule(number=st.integers(0, 99), many=st.integers(1, 3))
    def give_back(self, number: int, many: int) -> None:
        out = sorted(self.disk.out)
        begin = number % len(out)
        rows = [self.disk.rows[seq] for seq in out[begin : begin + many]]
        back = self.together(rows)[0]
        self.disk.out.difference_update(range(back.seq, back.seq + back.many))
        self.window.push(back)

    @precondition(lambda self: self.disk.out)
    @rule(number=st.integers(0, 99))
    def end(self, number: int) -> None:
        seq = sorted(self.disk.out)[number % len(self.disk.out)]
        self.disk.out.remove(seq)
        del self.disk.rows[seq]

    @precondition(lambda self: self.disk.ready())
    @rule(number=st.integers(0, 99))
    def cancel(self, number: int) -> None:
        ready = self.disk.ready()
        seq = ready[number % len(ready)].seq
        del self.disk.rows[seq]
        self.window.remove(seq)

    @rule()
    def look(self) -> None:
        first, ready = self.window.first(), self.disk.ready()
        assert (first and first.part(0, 1)) == (ready[0] if ready else None)

    @invariant()
    def memory_is_bounded(self) -> None:
        assert self.window._tasks == sum(one.many for one in self.window._members.values()) <= 4 + 4
        assert len(self.window._members) <= len(self.window._heap)
        assert {one.seq for one in self.window._members.values() if one.many > 1} == set(self.window._wide)

    def teardown(self) -> None:
        expected = self.disk.ready()
        got = []
        while self.window.first() is not None:
            got.append(self.window.pop())
            self.disk.out.add(got[-1].seq)
        assert got == expected


WindowAgainstList.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestTheOrderOfAWindowIsThatOfAListWhateverHappens = WindowAgainstList.TestCase


def test_a_backlog_longer_than_the_window_comes_out_whole_and_in_order() -> None:
    disk = Disk()
    window = ReadyWindow[Entry](disk.fetch, 4)
    rows = [disk.add(rank=-(n % 3)) for n in range(50)]
    for row in rows:
        window.push(row)
    got = []
    while window.first() is not None:
        got.append(window.pop())
    assert got == sorted(rows)


def test_leasing_does_not_read_the_disk_while_the_window_has_entries() -> None:
    disk = Disk()
    for _ in range(10):
        disk.add(0)
    window = ReadyWindow[Entry](disk.fetch, 10)
    assert window.first() is not None
    assert disk.reads == 1
    for _ in range(9):
        window.pop()
        assert window.first() is not None
    assert disk.reads == 1


def test_an_empty_window_that_knows_the_disk_is_empty_does_not_read_it_again() -> None:
    disk = Disk()
    window = ReadyWindow[Entry](disk.fetch, 10)
    assert [window.first(), window.first()] == [None, None]
    assert disk.reads == 1
    window.push(disk.add(0))
    assert window.first() == entry(0, 1)


def test_what_was_removed_is_not_offered_though_it_was_the_first() -> None:
    disk = Disk()
    window = ReadyWindow[Entry](disk.fetch, 10)
    first, second = disk.add(0), disk.add(0)
    assert window.first() == first
    window.remove(first.seq)
    assert window.first() == second


def test_a_window_begins_before_every_priority_that_a_task_may_have() -> None:
    assert entry(-(2**31), 1)[:2] > START
    assert Item(0, 1, b"")[:2] > START


def test_an_entry_that_comes_back_after_its_removal_is_the_new_one_and_comes_once() -> None:
    window = ReadyWindow[Entry](lambda after, limit: ([], None))
    assert window.first() is None
    late = entry(0, 2)._replace(begin_by=5.0)
    for one in (entry(0, 1), late):
        window.push(one)
    window.remove(2)
    again = entry(0, 2)
    window.push(again)
    assert [window.pop() for _ in range(2) if window.first()] == [entry(0, 1), again]
    assert window.first() is None
