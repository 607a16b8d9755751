"""How `Cluster.map` forms tasks of calls, how many it keeps under way, and what it yields; the workers are the test."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from taskyard.calls import OneOutcome
from taskyard.codec import decode, encode, encode_error
from taskyard.errors import TaskFailed
from taskyard.mapping import CHUNK_BYTES, LONGEST_CHUNK, PROBES, WINDOW_BYTES, Mapping

Many = Future[tuple[float, list[OneOutcome]]]


class Workers:
    """Squares numbers; each call takes ``seconds``. With ``answer=False`` chunks wait for `finish`."""

    def __init__(self, seconds: float = 1e-5, answer: bool = True) -> None:
        self.seconds = seconds
        self.answer = answer
        self.chunks: list[tuple[list[bytes], Many]] = []

    def submit(self, payloads: list[bytes]) -> Many:
        future: Many = Future()
        self.chunks.append((payloads, future))
        if self.answer:
            self.finish(-1)
        return future

    def finish(self, index: int) -> None:
        payloads, future = self.chunks[index]
        future.set_result((self.seconds * len(payloads), list(map(self._square, payloads))))

    def sizes(self) -> list[int]:
        return [len(payloads) for payloads, _ in self.chunks]

    @staticmethod
    def _square(payload: bytes) -> OneOutcome:
        try:
            return True, encode(decode(payload) ** 2)
        except Exception as error:
            return False, encode_error(error)


def mapping(workers: Workers, values: Iterable[Any], chunksize: int = 0, window: int = 10_000) -> Mapping:
    encoded = (value if isinstance(value, Exception) else encode(value) for value in values)
    return Mapping(encoded, workers.submit, chunksize, window, None, False)


def test_results_come_in_the_order_of_the_calls_and_then_it_ends() -> None:
    results = mapping(Workers(), range(1000))
    assert list(results) == [n * n for n in range(1000)]
    with pytest.raises(StopIteration):
        next(results)


def test_no_calls_are_no_task() -> None:
    workers = Workers()
    assert list(mapping(workers, [])) == []
    assert workers.chunks == []


def test_short_calls_soon_go_many_together() -> None:
    workers = Workers(seconds=1e-5)
    assert sum(1 for _ in mapping(workers, range(100_000))) == 100_000
    assert workers.sizes()[0] == 1
    assert max(workers.sizes()) == LONGEST_CHUNK
    assert len(workers.chunks) < 200


def test_a_task_gets_as_many_calls_as_take_a_twentieth_of_a_second() -> None:
    workers = Workers(seconds=0.005)
    assert sum(1 for _ in mapping(workers, range(1000))) == 1000
    assert set(workers.sizes()[1:-1]) == {10}


def test_a_long_call_is_a_task_of_its_own() -> None:
    workers = Workers(seconds=0.2)
    assert sum(1 for _ in mapping(workers, range(100))) == 100
    assert set(workers.sizes()) == {1}


def test_calls_go_alone_while_nobody_knows_how_long_they_take() -> None:
    workers = Workers(answer=False)
    mapping(workers, range(3 * PROBES))
    assert workers.sizes() == [1] * 3 * PROBES


def test_a_chunksize_that_is_given_is_kept() -> None:
    workers = Workers(seconds=1e-5)
    assert list(mapping(workers, range(25), chunksize=10)) == [n * n for n in range(25)]
    assert workers.sizes() == [10, 10, 5]


def test_big_arguments_make_tasks_of_fewer_calls() -> None:
    workers = Workers(seconds=1e-6)
    big = [b"x" * (CHUNK_BYTES // 3)] * 100
    list(Mapping(map(encode, big), lambda payloads: _echo(workers, payloads), 0, 10_000, None, False))
    assert max(workers.sizes()) == 4 - 1


def test_big_results_make_tasks_of_fewer_calls() -> None:
    workers = Workers(seconds=1e-6)
    results = Mapping(
        map(encode, range(100)), lambda payloads: _echo(workers, payloads, b"x" * (CHUNK_BYTES // 4)), 0, 100, None, False
    )
    assert len(list(results)) == 100
    assert max(workers.sizes()) == 4 - 1


def test_results_that_are_too_large_together_are_asked_for_one_by_one() -> None:
    workers = Workers(answer=False)
    results = mapping(workers, range(4), chunksize=2)
    workers.finish(0)
    workers.chunks[1][1].set_exception(TaskFailed("exception: PayloadTooLarge: what the task returned can't be kept"))
    workers.answer = True
    assert list(results) == [0, 1, 4, 9]
    assert workers.sizes() == [2, 2, 1, 1]


def _echo(workers: Workers, payloads: list[bytes], value: bytes = b"") -> Many:
    future: Many = Future()
    workers.chunks.append((payloads, future))
    future.set_result((1e-6, [(True, encode(value))] * len(payloads)))
    return future


@pytest.mark.parametrize("window", [1, 2, 7, 100, 5000])
def test_no_more_calls_are_under_way_than_asked_for(window: int) -> None:
    taken = itertools.count()
    results = mapping(Workers(), (next(taken) for _ in itertools.count()), window=window)
    most = 0
    for index, _ in enumerate(itertools.islice(results, 3000)):
        under_way = next(taken) - index - 1
        taken = itertools.chain([under_way + index + 1], taken)  # type: ignore[assignment]
        most = max(most, under_way)
    assert most <= window


def test_no_more_bytes_are_under_way_than_fit_into_memory() -> None:
    workers = Workers(answer=False)
    big = encode(b"x" * (WINDOW_BYTES // 8))
    results = Mapping(iter([big] * 100), workers.submit, 0, 10_000, None, True)
    assert len(workers.chunks) == 8
    workers.chunks[0][1].set_result((1.0, [(True, encode("the first"))]))
    assert next(results) == "the first"
    assert len(workers.chunks) == 8, "one is under way less until the next result is asked for"
    workers.chunks[1][1].set_result((1.0, [(True, encode("the second"))]))
    assert next(results) == "the second"
    assert len(workers.chunks) == 9


def test_it_begins_before_anybody_asks_for_a_result() -> None:
    workers = Workers(answer=False)
    results = mapping(workers, range(5))
    assert sum(workers.sizes()) == 5
    del results


def test_a_source_that_waits_holds_no_result_up() -> None:
    """The source brings its next value only once the former one's result was taken."""
    seen: list[int] = []

    def source() -> Iterator[int]:
        for n in range(20):
            assert len(seen) >= n - 1, "it asks for more than it needs"
            yield n

    results = mapping(Workers(), source(), window=1)
    while len(seen) < 20:
        seen.append(next(results))
    assert seen == [n * n for n in range(20)]


def test_what_a_call_raised_comes_at_its_place_and_the_rest_is_cancelled() -> None:
    workers = Workers(seconds=0.2)
    results = mapping(workers, [1, 2, "three", 4, 5])
    assert [next(results), next(results)] == [1, 4]
    workers.chunks.append(([], Future()))
    with pytest.raises(TypeError, match="unsupported operand"):
        next(results)
    with pytest.raises(StopIteration):
        next(results)


def test_arguments_that_cannot_be_encoded_fail_at_their_place() -> None:
    results = mapping(Workers(), [1, 2, ValueError("no pickle"), 4])
    assert [next(results), next(results)] == [1, 4]
    with pytest.raises(ValueError, match="no pickle"):
        next(results)


def test_closing_it_cancels_what_is_under_way() -> None:
    workers = Workers(answer=False)
    results = mapping(workers, range(10))
    results.close()
    assert all(future.cancelled() for _, future in workers.chunks)
    assert list(results) == []


def test_dropping_it_cancels_what_is_under_way() -> None:
    workers = Workers(answer=False)
    results = mapping(workers, range(10))
    del results
    assert all(future.cancelled() for _, future in workers.chunks)


def test_a_task_that_failed_as_a_whole_fails_each_of_its_calls() -> None:
    workers = Workers(answer=False)
    results = mapping(workers, range(4), chunksize=2)
    workers.finish(0)
    workers.chunks[1][1].set_exception(LookupError("lost"))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(LookupError, match="lost"):
        next(results)


def test_a_result_that_is_not_there_in_time_is_a_timeout() -> None:
    workers = Workers(answer=False)
    results = Mapping(map(encode, range(3)), workers.submit, 0, 100, 0.0, False)
    with pytest.raises(TimeoutError):
        next(results)
    assert all(future.cancelled() for _, future in workers.chunks)
