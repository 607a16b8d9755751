"""How `Cluster.map` forms tasks of calls, how many it keeps under way, and what it yields; the workers are the test."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from taskyard import calls
from taskyard.calls import MANY, OneOutcome
from taskyard.codec import decode, encode, encode_error
from taskyard.errors import TaskFailed
from taskyard.futures import Block, End, OpenCalls
from taskyard.mapping import AT_ONCE_SECONDS, CHUNK_BYTES, LONGEST_CHUNK, PROBES, SLOW_SOURCE, WINDOW_BYTES, Mapping


class Clock:
    """Goes only as a test says."""

    def __init__(self) -> None:
        self.now = 1.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Else a source counts as a slow one whenever this machine is busy."""
    made = Clock()
    monkeypatch.setattr("taskyard.mapping.time", made)
    return made


def square(n: Any) -> Any:
    return n**2


class Workers:
    """Make calls of ``function``; each takes ``seconds``. With ``answer=False`` tasks wait for `finish`."""

    def __init__(self, seconds: float = 1e-5, answer: bool = True, function: Callable[[Any], Any] = square) -> None:
        self.seconds = seconds
        self.answer = answer
        self.function = function
        self.open = OpenCalls("job")
        self.tasks: list[tuple[Block, bytes]] = []
        """Of each its block and its payload."""

    def send(self, payloads: list[bytes], count: int, last: Block | None) -> Block:
        assert count == sum(map(_calls_in, payloads))
        block = last or Block(self.open, len(self.tasks), 0)
        block.ends += [None] * len(payloads)
        self.open.update(dict.fromkeys(range(len(self.tasks), len(self.tasks) + len(payloads)), block))
        for payload in payloads:
            self.tasks.append((block, payload))
            if self.answer:
                self.finish(-1)
        return block

    def finish(self, index: int, end: End | None = None) -> None:
        index %= len(self.tasks)
        block, payload = self.tasks[index]
        if self.open.pop(index, None) is not None:
            block.put(index, end or self._run(payload))

    def _run(self, payload: bytes) -> End:
        call = calls.unpack(payload)
        if call.many and isinstance(call.payloads[0], tuple):
            return calls.pack_values(self.seconds * len(call.payloads), [self.function(*args) for args in call.payloads])
        if call.many:
            return calls.pack_outcomes(self.seconds * len(call.payloads), list(map(self._outcome, call.payloads)))
        returned, value = self._outcome(payload)
        return value if returned else TypeError("unsupported operand")

    def _outcome(self, payload: Any) -> OneOutcome:
        try:
            args = payload if isinstance(payload, tuple) else decode(payload)[0]
            return True, encode(self.function(*args))
        except Exception as error:
            return False, encode_error(error)

    def sizes(self) -> list[int]:
        return [_calls_in(payload) for _, payload in self.tasks]

    def were_cancelled(self) -> bool:
        """Whether all that was sent was cancelled."""
        return len(self.open.cancelled) == len(self.tasks) and not self.open


def _calls_in(payload: bytes) -> int:
    return len(calls.unpack(payload).payloads)


class NoPickle:
    def __reduce__(self) -> str:
        raise ValueError("no pickle")


def begin(
    workers: Workers,
    values: Iterable[Any],
    chunksize: int = 0,
    window: int = 10_000,
    at_hand: bool = False,
    at_once: bool = False,
    deadline: float | None = None,
) -> Iterator[Any]:
    source = ((value,) for value in values)
    made = Mapping(source, lambda args: encode((args, {})), workers.send, chunksize, window, at_hand)
    return made.begin(deadline, at_once)


both = pytest.mark.parametrize("at_hand", [False, True])
"""Whether calls come one at a time, or many."""
one_or_many = pytest.mark.parametrize("chunksize", [0, 1, 7], ids=["adaptive", "alone", "seven"])


@both
@one_or_many
def test_results_come_in_the_order_of_the_calls_and_then_it_ends(chunksize: int, at_hand: bool) -> None:
    results = begin(Workers(), range(1000), chunksize, at_hand=at_hand)
    assert list(results) == [n * n for n in range(1000)]
    with pytest.raises(StopIteration):
        next(results)


@one_or_many
def test_no_calls_are_no_task(chunksize: int) -> None:
    workers = Workers()
    assert list(begin(workers, [], chunksize)) == []
    assert workers.tasks == []


@both
def test_short_calls_soon_go_many_together(at_hand: bool) -> None:
    workers = Workers(seconds=1e-6)
    assert sum(1 for _ in begin(workers, range(100_000), at_hand=at_hand)) == 100_000
    assert workers.sizes()[0] == 1
    assert max(workers.sizes()) == min(LONGEST_CHUNK, 10_000 // 8)
    assert len(workers.tasks) < 200


def test_a_task_gets_as_many_calls_as_take_a_twentieth_of_a_second() -> None:
    workers = Workers(seconds=0.005)
    assert sum(1 for _ in begin(workers, range(1000))) == 1000
    assert set(workers.sizes()[1:-1]) == {10}


def test_a_long_call_is_a_task_of_its_own() -> None:
    workers = Workers(seconds=0.2)
    assert sum(1 for _ in begin(workers, range(100))) == 100
    assert set(workers.sizes()) == {1}


def test_calls_go_alone_while_nobody_knows_how_long_they_take() -> None:
    workers = Workers(answer=False)
    results = begin(workers, range(3 * PROBES))
    assert workers.sizes() == [1] * 3 * PROBES
    del results


@both
def test_a_chunksize_that_is_given_is_kept(at_hand: bool) -> None:
    workers = Workers(seconds=1e-5)
    assert list(begin(workers, range(25), chunksize=10, at_hand=at_hand)) == [n * n for n in range(25)]
    assert workers.sizes() == [10, 10, 5]


@both
@pytest.mark.parametrize("kind", [bytes, bytearray], ids=["plain", "not plain"])
def test_big_arguments_make_tasks_of_fewer_calls(kind: Callable[[bytes], Any], at_hand: bool) -> None:
    workers = Workers(seconds=1e-6, function=lambda value: b"")
    list(begin(workers, [kind(b"x" * (CHUNK_BYTES // 3))] * 100, at_hand=at_hand))
    assert max(workers.sizes()) == 4 - 1


def test_big_results_make_tasks_of_fewer_calls() -> None:
    workers = Workers(seconds=1e-6, function=lambda value: b"x" * (CHUNK_BYTES // 4))
    assert len(list(begin(workers, range(100), window=100))) == 100
    assert max(workers.sizes()) == 4 - 1


def test_results_that_are_too_large_together_are_asked_for_one_by_one() -> None:
    workers = Workers(answer=False)
    results = begin(workers, range(4), chunksize=2)
    workers.finish(0)
    workers.finish(1, TaskFailed("exception: PayloadTooLarge: what the task returned can't be kept"))
    workers.answer = True
    assert list(results) == [0, 1, 4, 9]
    assert workers.sizes() == [2, 2, 1, 1]


# What travels


def test_arguments_that_nobody_can_change_travel_together_and_others_one_by_one() -> None:
    workers = Workers(function=lambda value: 1)
    list(begin(workers, [1, 2.0, True, None, "text", b"bytes"], chunksize=6))
    list(begin(workers, [1, "text", [1]], chunksize=3))
    plain, mixed = (calls.unpack(payload).payloads for _, payload in workers.tasks)
    assert plain == [(1,), (2.0,), (True,), (None,), ("text",), (b"bytes",)]
    assert list(map(decode, mixed)) == [((1,), {}), (("text",), {}), (([1],), {})]


def test_arguments_are_taken_as_they_are_when_the_source_brings_them() -> None:
    workers = Workers(function=lambda value: value[0])

    def source() -> Iterator[list[int]]:
        shared = [0]
        for n in range(20):
            shared[0] = n
            yield shared

    assert list(begin(workers, source(), chunksize=5)) == list(range(20))


def test_what_a_slow_source_brings_is_sent_at_once_and_results_do_not_wait_for_more_of_it(clock: Clock) -> None:
    taken: list[int] = []

    def source() -> Iterator[int]:
        for n in range(1000):
            clock.now += 2 * SLOW_SOURCE
            taken.append(n)
            yield n

    workers = Workers()
    results = begin(workers, source(), chunksize=50)
    assert [next(results), next(results)] == [0, 1]
    assert len(taken) < 2 * AT_ONCE_SECONDS / (2 * SLOW_SOURCE), "hardly more than before anybody asked"
    assert set(workers.sizes()) == {1}


def test_a_call_that_is_a_task_of_its_own_is_not_one_of_many() -> None:
    workers = Workers()
    assert list(begin(workers, range(3), chunksize=1)) == [0, 1, 4]
    assert [payload[:1] == MANY for _, payload in workers.tasks] == [False] * 3


# How much is under way


@both
@one_or_many
@pytest.mark.parametrize("window", [1, 2, 7, 100, 5000])
def test_no_more_calls_are_under_way_than_asked_for(window: int, chunksize: int, at_hand: bool) -> None:
    taken = 0

    def source() -> Iterator[int]:
        nonlocal taken
        while True:
            taken += 1
            yield taken

    results = begin(Workers(), source(), chunksize, window=window, at_hand=at_hand)
    most = 0
    for index, _ in enumerate(itertools.islice(results, 3000)):
        most = max(most, taken - index - 1)
    assert most <= window


@both
@one_or_many
def test_no_more_bytes_are_under_way_than_fit_into_memory(chunksize: int, at_hand: bool) -> None:
    workers = Workers(answer=False)
    big = b"x" * (WINDOW_BYTES // 8)
    results = begin(workers, [big] * 100, chunksize, at_hand=at_hand, at_once=True)
    assert len(workers.tasks) == 8
    for position in range(3):
        assert len(workers.tasks) == 8 + max(0, position - 1), "one is under way less until the next result is asked for"
        end = encode(position) if chunksize == 1 else calls.pack_outcomes(1.0, [(True, encode(position))])
        workers.finish(position, end)
        assert next(results) == position
    del results


def test_it_begins_before_anybody_asks_for_a_result() -> None:
    workers = Workers(answer=False)
    results = begin(workers, range(5))
    assert sum(workers.sizes()) == 5
    del results


@pytest.mark.parametrize("chunksize", [0, 1])
def test_a_source_that_waits_holds_no_result_up(chunksize: int) -> None:
    """The source brings its next value only once the former one's result was taken."""
    seen: list[int] = []

    def source() -> Iterator[int]:
        for n in range(20):
            assert len(seen) >= n - 1, "it asks for more than it needs"
            yield n

    results = begin(Workers(), source(), chunksize, window=1)
    while len(seen) < 20:
        seen.append(next(results))
    assert seen == [n * n for n in range(20)]


# How it ends


@both
@one_or_many
def test_what_a_call_raised_comes_at_its_place_and_the_rest_is_cancelled(chunksize: int, at_hand: bool) -> None:
    workers = Workers(seconds=0.2)
    results = begin(workers, [1, 2, [], 4, 5], chunksize, at_hand=at_hand)
    assert [next(results), next(results)] == [1, 4]
    workers.answer = False
    with pytest.raises(TypeError, match="unsupported operand"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


@both
@one_or_many
def test_arguments_that_cannot_be_encoded_fail_at_their_place(chunksize: int, at_hand: bool) -> None:
    results = begin(Workers(), [1, 2, NoPickle(), 4], chunksize, at_hand=at_hand)
    assert [next(results), next(results)] == [1, 4]
    with pytest.raises(ValueError, match="no pickle"):
        next(results)


@one_or_many
@pytest.mark.parametrize("how", ["closed", "dropped", "source fails"])
def test_what_is_under_way_is_cancelled_when_it_ends_before(how: str, chunksize: int) -> None:
    workers = Workers(answer=False)

    def source() -> Iterator[int]:
        yield from range(10)
        if how == "source fails":
            raise LookupError("of the source")

    if how == "source fails":
        with pytest.raises(LookupError, match="of the source"):
            begin(workers, source(), chunksize)
    else:
        results: Any = begin(workers, source(), chunksize)
        if how == "closed":
            results.close()
            assert list(results) == []
        del results
    assert workers.were_cancelled()


def test_a_task_that_failed_as_a_whole_fails_each_of_its_calls() -> None:
    workers = Workers(answer=False)
    results = begin(workers, range(4), chunksize=2)
    workers.finish(0)
    workers.finish(1, LookupError("lost"))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(LookupError, match="lost"):
        next(results)


@one_or_many
def test_a_result_that_is_not_there_in_time_is_a_timeout(chunksize: int) -> None:
    workers = Workers(answer=False)
    results = begin(workers, range(3), chunksize, window=100, deadline=0.0)
    with pytest.raises(TimeoutError):
        next(results)
    assert workers.were_cancelled()
