"""`Executor.map`."""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Iterator
from concurrent.futures import Executor, TimeoutError
from typing import Any

from taskyard.mapping import WINDOW
from tests.executors.functions import Refused, add, give_back, mark, pause, pause_and_mark, refuse_three
from tests.executors.listing import OURS, PATIENCE, Kind, all_marks, behaviour, instead, raises, until


@behaviour
def map_gives_results_in_the_order_of_the_calls(executor: Executor) -> None:
    assert list(executor.map(pause, [0.3, 0.0, 0.1, 0.0], "abcd")) == ["a", "b", "c", "d"]
    assert list(executor.map(give_back, range(300))) == list(range(300))


@behaviour
def the_shortest_iterable_says_how_many_calls_map_makes(executor: Executor) -> None:
    assert list(executor.map(add, range(100), [1, 2, 3])) == [1, 3, 5]
    assert list(executor.map(add, iter([5]), (10 * n for n in range(2)))) == [5]


@behaviour
def map_over_nothing_gives_nothing(executor: Executor) -> None:
    nothing: list[int] = []
    assert list(executor.map(give_back, nothing)) == []
    assert list(executor.map(add, range(3), nothing)) == []


@behaviour
def map_raises_an_exception_at_its_place_and_then_ends(executor: Executor) -> None:
    results = executor.map(refuse_three, range(6))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with raises(Refused, "not this one"):
        next(results)
    assert list(results) == []


@behaviour
def map_is_a_timeout_when_a_result_has_not_come_in_time(executor: Executor) -> None:
    results = executor.map(pause, [0.01, 4.0], ["in time", "late"], timeout=2.0)
    assert next(results) == "in time"
    with raises(TimeoutError):
        next(results)
    assert list(executor.map(pause, [0.1, 0.01], timeout=PATIENCE)) == [None, None]


@behaviour
def map_takes_a_chunksize_of_one_or_more(executor: Executor) -> None:
    for size in (1, 3, 1000):
        assert list(executor.map(add, range(10), range(10), chunksize=size)) == [2 * n for n in range(10)]
    results = executor.map(refuse_three, range(8), chunksize=2)
    assert [next(results), next(results)] == [0, 1]


@behaviour
def map_begins_before_anybody_asks_for_a_result(executor: Executor, kind: Kind) -> None:
    token = str(uuid.uuid4())
    results = executor.map(mark, [token])
    until(lambda: token in all_marks(executor, kind), "the call is made")
    assert list(results) == [None]


class Source(Iterator[int]):
    """Numbers up to an end, or none, and how many were taken."""

    def __init__(self, end: float) -> None:
        self.taken = 0
        self._end = end

    def __next__(self) -> int:
        if self.taken >= self._end:
            raise StopIteration
        self.taken += 1
        return self.taken - 1


@behaviour
def map_takes_all_that_its_iterables_have_when_it_is_called(executor: Executor) -> None:
    source = Source(30_000)
    results = executor.map(give_back, source, chunksize=1000)
    assert source.taken == 30_000
    assert sum(results) == sum(range(30_000))


@instead(
    map_takes_all_that_its_iterables_have_when_it_is_called,
    *OURS,
    because="so inputs may be endless, or bigger than memory; `buffersize` says how many calls may be under way, else 100,000",
)
def map_takes_more_as_results_are_taken(executor: Executor) -> None:
    source = Source(math.inf)
    results = executor.map(give_back, source)
    assert list(itertools.islice(results, 30_000)) == list(range(30_000))
    assert source.taken <= 30_000 + WINDOW


@behaviour
def what_an_iterable_raises_reaches_the_caller(executor: Executor) -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("of the source")

    with raises(LookupError, "of the source"):
        list(executor.map(give_back, source()))


@behaviour
def closing_the_iterator_cancels_the_calls_that_wait(executor: Executor, kind: Kind) -> None:
    token, count = str(uuid.uuid4()), 60 * kind.workers
    results: Any = executor.map(pause_and_mark, [f"{token} {n}" for n in range(count)], chunksize=1)
    next(results)
    results.close()
    assert list(results) == []
    assert f"{token} {count - 1}" not in all_marks(executor, kind)
