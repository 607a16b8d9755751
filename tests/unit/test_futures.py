"""Calls that have no end yet: futures that have a condition only when somebody looks, and blocks of calls."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, as_completed, wait
from typing import Any

import pytest

from taskyard.calls import pack_outcomes
from taskyard.codec import encode, encode_error
from taskyard.errors import TaskFailed
from taskyard.futures import Block, OpenCalls, TaskFuture
from taskyard.series import NOT_NUMBERED, ResultSeries
from tests.harness import InThread

PREFIX = "job"
ROUNDS = 300
"""Of those tests in which two threads meet by chance."""


class Exchange:
    """What a future needs of it."""

    def __init__(self) -> None:
        self.calls = OpenCalls(PREFIX)

    def withdraw(self, future: TaskFuture) -> bool:
        return self.calls.withdraw(future.key, future)


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def calls(exchange: Exchange) -> OpenCalls:
    return exchange.calls


def opened(exchange: Exchange, number: int = 0) -> TaskFuture:
    future = exchange.calls[number] = TaskFuture(number, exchange)  # type: ignore[arg-type]
    return future


def block_of(calls: OpenCalls, first: int, count: int) -> Block:
    block = Block(calls, first, count)
    calls.update(dict.fromkeys(range(first, first + count), block))
    return block


def done(first: int, *values: Any, prefix: str = PREFIX) -> ResultSeries:
    return ResultSeries(1, prefix, first, "done", list(map(encode, values)), "", 1)


def failed(first: int, *errors: Exception) -> ResultSeries:
    return ResultSeries(1, PREFIX, first, "failed", [encode_error(error) for error in errors], "exception", 1)


# Futures


def test_a_future_has_no_state_that_the_standard_ones_do_not_have() -> None:
    """`TaskFuture` gives it its attributes later: a Python with others is to be looked at."""
    assert set(vars(Future())) == {"_condition", "_state", "_result", "_exception", "_waiters", "_done_callbacks"}


def test_an_end_that_nobody_waits_for_is_there_for_whoever_comes_later(exchange: Exchange) -> None:
    future = opened(exchange)
    assert not future.done()
    exchange.calls.take([done(0, "value")])
    seen: list[Any] = []
    future.add_done_callback(lambda of: seen.append(of.result(0)))
    assert (future.done(), future.cancelled(), future.running(), future.result(0), future.exception(0)) == (
        True,
        False,
        False,
        "value",
        None,
    )
    assert seen == ["value"]
    assert wait([future]).done == {future}
    all_futures: list[Future[Any]] = [future]
    assert list(as_completed(all_futures)) == [future]
    assert future.cancel() is False


def test_a_failure_is_raised(exchange: Exchange) -> None:
    future = opened(exchange)
    exchange.calls.take([failed(0, LookupError("lost"))])
    with pytest.raises(LookupError, match="lost"):
        future.result(0)
    assert isinstance(future.exception(0), LookupError)


def test_a_value_that_cannot_be_read_fails_its_call_alone(exchange: Exchange) -> None:
    futures = [opened(exchange, number) for number in range(3)]
    broken = done(0, 0, 1, 2)
    exchange.calls.take([broken._replace(values=[broken.values[0], b"?", broken.values[2]])])
    assert [futures[0].result(0), futures[2].result(0)] == [0, 2]
    with pytest.raises(ValueError, match="unknown payload form"):
        futures[1].result(0)


def test_many_calls_in_one_task_give_their_outcomes_as_they_are(exchange: Exchange) -> None:
    future = opened(exchange)
    outcomes = [(True, encode(1)), (False, b"")]
    exchange.calls.take([done(0, 0)._replace(values=[pack_outcomes(0.5, outcomes)])])
    assert future.result(0) == (0.5, outcomes)


def test_a_cancelled_future_is_told_to_the_queue_and_its_end_is_not_taken(exchange: Exchange) -> None:
    future = opened(exchange, 7)
    seen: list[bool] = []
    future.add_done_callback(lambda of: seen.append(of.cancelled()))
    assert future.cancel()
    assert future.cancel(), "once more does no harm"
    assert (seen, list(exchange.calls.cancelled), dict(exchange.calls)) == ([True], ["job-7"], {})
    exchange.calls.take([done(7, "value")])
    with pytest.raises(CancelledError):
        future.result(0)
    assert wait([future], 0).done == {future}


def test_who_cancels_while_the_end_is_on_its_way_is_right_and_who_waits_is_told(exchange: Exchange) -> None:
    future = opened(exchange)
    waiting = InThread(lambda: wait([future], 20))
    del exchange.calls[0]  # the reader has it
    assert future.cancel()
    future.end("value")
    assert waiting.result(20).done == {future}
    assert future.cancelled()


def by_result(future: TaskFuture) -> Any:
    return future.result(20)


def by_exception(future: TaskFuture) -> Any:
    return future.exception(20) or future.result(0)


def by_wait(future: TaskFuture) -> Any:
    assert wait([future], 20, FIRST_COMPLETED).done == {future}
    return future.result(0)


def by_as_completed(future: TaskFuture) -> Any:
    all_futures: list[Future[Any]] = [future]
    return next(as_completed(all_futures, 20)).result(0)


def by_callback(future: TaskFuture) -> Any:
    called = threading.Event()
    times: list[int] = []
    future.add_done_callback(lambda of: times.append(1))
    future.add_done_callback(lambda of: called.set())
    assert called.wait(20)
    assert times == [1]
    return future.result(0)


@pytest.mark.parametrize("look", [by_result, by_exception, by_wait, by_as_completed, by_callback])
def test_whoever_looks_just_when_the_end_comes_gets_it_once(exchange: Exchange, look: Callable[[TaskFuture], Any]) -> None:
    for number in range(ROUNDS):
        future, both = opened(exchange, number), threading.Barrier(2)

        def look_at(future: TaskFuture = future, both: threading.Barrier = both) -> Any:
            both.wait()
            return look(future)

        looking = InThread(look_at)
        both.wait()
        exchange.calls.take([done(number, number)])
        assert looking.result(20) == number


def test_of_a_cancel_and_an_end_that_meet_one_counts(exchange: Exchange) -> None:
    for number in range(ROUNDS):
        future, both = opened(exchange, number), threading.Barrier(2)

        def cancel(future: TaskFuture = future, both: threading.Barrier = both) -> bool:
            both.wait()
            return future.cancel()

        cancelling = InThread(cancel)
        both.wait()
        exchange.calls.take([done(number, number)])
        assert wait([future], 20).done == {future}
        assert cancelling.result(20) is future.cancelled()
        assert future.cancelled() or future.result(0) == number


# Blocks, and whose end is whose


def test_ends_of_a_block_are_at_the_places_of_their_calls_in_whatever_runs_they_come(calls: OpenCalls) -> None:
    block = block_of(calls, 5, 6)
    calls.take([done(8, 3, 4), done(5, 0), failed(6, LookupError("one"))])
    assert block.ends[0] == encode(0)
    assert isinstance(block.ends[1], LookupError)
    assert block.ends[2:] == [None, encode(3), encode(4), None]
    assert list(calls) == [7, 10]


def test_a_run_of_results_may_be_of_futures_and_of_blocks(exchange: Exchange) -> None:
    first, block, last = opened(exchange, 0), block_of(exchange.calls, 1, 2), opened(exchange, 3)
    exchange.calls.take([done(0, "a", "b", "c", "d")])
    assert (first.result(0), block.ends, last.result(0)) == ("a", [encode("b"), encode("c")], "d")
    assert (dict(exchange.calls), exchange.calls.ending) == ({}, 0)


def test_a_result_that_comes_again_changes_nothing(calls: OpenCalls) -> None:
    block = block_of(calls, 0, 2)
    calls.take([done(0, "first")])
    calls.take([done(0, "second", "of another call")])
    assert block.ends == [encode("first"), encode("of another call")]


def test_results_of_other_clients_and_of_keys_are_not_taken_for_numbers(exchange: Exchange) -> None:
    future, keyed = opened(exchange, 0), TaskFuture("key-1f", exchange)  # type: ignore[arg-type]
    exchange.calls.put_keyed("key-1f", keyed)
    exchange.calls.take([done(0, "another's", prefix="other"), done(NOT_NUMBERED, "keyed", prefix="key-1f")])
    assert (future.done(), keyed.result(0)) == (False, "keyed")
    exchange.calls.take([done(NOT_NUMBERED, "unknown", prefix="key-2f")])
    assert list(exchange.calls) == [0]


def test_who_waits_for_a_call_of_a_block_is_woken_by_its_end(calls: OpenCalls) -> None:
    block = block_of(calls, 0, 3)
    assert block.wait(1, 0.0) is False
    waiting = InThread(lambda: block.wait(1, 20))
    calls.take([done(0, 0)])
    calls.take([done(1, 1)])
    assert waiting.result(20) is True
    assert block.wait(0)


def test_closing_a_block_cancels_what_has_no_end(calls: OpenCalls) -> None:
    block = block_of(calls, 3, 4)
    calls.take([done(4, "value")])
    block.cancel()
    assert list(calls.cancelled) == ["job-3", "job-5", "job-6"]
    assert [type(end) for end in block.ends] == [CancelledError, bytes, CancelledError, CancelledError]
    assert not calls


def test_calls_that_fail_together_all_have_the_error(exchange: Exchange) -> None:
    future, block = opened(exchange, 0), block_of(exchange.calls, 1, 2)
    error = TaskFailed("the client failed")
    exchange.calls.fail([0, 1, 99], error)
    assert (future.exception(0), block.ends) == (error, [error, None])
    assert (list(exchange.calls), exchange.calls.ending) == ([2], 0)
