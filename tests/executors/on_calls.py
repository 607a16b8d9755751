"""Calls: what goes there, and what comes back."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Executor, Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tests.executors.functions import (
    Refused,
    Unreadable,
    add,
    give_back,
    give_unsendable,
    leave,
    named,
    raise_unreadable,
    raise_unsendable,
    refuse,
)
from tests.executors.listing import OURS, PATIENCE, PROCESSES, THREADS, Kind, behaviour, instead, raises, values


@behaviour
def a_call_returns_what_its_function_returns(executor: Executor) -> None:
    assert executor.submit(add, 3, 4).result(PATIENCE) == 7
    assert executor.submit(add, 3, second=5).result(PATIENCE) == 8
    assert executor.submit(pow, 2, 10).result(PATIENCE) == 1024


@behaviour
def arguments_may_have_any_name(executor: Executor) -> None:
    given = {"fn": 1, "self": 2, "timeout": 3, "args": 4, "key": 5, "function": 6}
    assert executor.submit(named, 7, **given).result(PATIENCE) == ((7,), given)


@behaviour
def falsy_results_are_results(executor: Executor) -> None:
    given: list[Any] = [None, 0, "", b"", [], {}, False, ()]
    futures = [executor.submit(give_back, value) for value in given]
    assert values(futures) == given
    assert [future.exception() for future in futures] == [None] * len(given)


@behaviour
def a_value_that_is_an_exception_is_returned_not_raised(executor: Executor) -> None:
    future = executor.submit(give_back, Refused(4, "a value"))
    assert future.result(PATIENCE).code == 4
    assert future.exception() is None


@behaviour
def an_exception_is_raised_with_its_class_and_arguments(executor: Executor) -> None:
    future = executor.submit(refuse, 451)
    with raises(Refused, "we are closed"):
        future.result(PATIENCE)
    error = future.exception()
    assert isinstance(error, Refused)
    assert (error.code, error.args) == (451, (451, "we are closed"))
    with raises(ZeroDivisionError):
        executor.submit(divmod, 1, 0).result(PATIENCE)
    with raises(TypeError, "argument"):
        executor.submit(add, 1).result(PATIENCE)


@behaviour
def the_traceback_names_the_function_deep_in_the_task(executor: Executor) -> None:
    error = executor.submit(refuse, 451).exception(PATIENCE)
    assert error is not None
    told = "".join(traceback.format_exception(error))
    assert told.index("in refuse") < told.index("in go_deeper")
    assert 'raise Refused(code, "we are closed")' in told


@behaviour
def what_is_no_plain_exception_is_raised_too(kind: Kind) -> None:
    with kind() as executor:
        error = executor.submit(leave, 3).exception(PATIENCE)
        assert isinstance(error, SystemExit)
        assert executor.submit(add, 1, 2).result(PATIENCE) == 3


@instead(
    what_is_no_plain_exception_is_raised_too,
    *OURS,
    because="a task that calls sys.exit, on another host, must not end the program that reads its result",
)
def what_would_end_the_calling_program_fails_its_future(executor: Executor) -> None:
    from taskyard.errors import TaskFailed

    with raises(TaskFailed, "the task called sys.exit(3)"):
        executor.submit(leave, 3).result(PATIENCE)
    assert executor.submit(add, 1, 2).result(PATIENCE) == 3


@behaviour
def a_megabyte_goes_there_and_back(executor: Executor) -> None:
    data = bytes(range(256)) * 4096
    assert executor.submit(give_back, data).result(PATIENCE) == data
    assert values([executor.submit(len, data) for _ in range(4)]) == [len(data)] * 4


@behaviour
def many_threads_may_submit(executor: Executor) -> None:
    futures: list[list[Future[int]]] = [[] for _ in range(8)]

    def submit(number: int) -> None:
        futures[number] = [executor.submit(add, number, n) for n in range(50)]

    threads = [threading.Thread(target=submit, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert [values(own) for own in futures] == [[number + n for n in range(50)] for number in range(8)]


# What can't be pickled


def assert_fails_alone(executor: Executor, function: Callable[..., Any], *args: Any) -> BaseException:
    """Such a call fails, between two others that do not; returns with what."""
    before, future, after = executor.submit(add, 1, 2), executor.submit(function, *args), executor.submit(add, 3, 4)
    error = future.exception(PATIENCE)
    assert error is not None, "it has not failed"
    assert values([before, after, executor.submit(add, 5, 6)]) == [3, 7, 11]
    return error


@behaviour
def an_argument_that_cannot_be_pickled_fails_that_call_alone(executor: Executor) -> None:
    assert "pickle" in str(assert_fails_alone(executor, give_back, threading.Lock()))


@behaviour
def a_result_that_cannot_be_pickled_fails_that_call_alone(executor: Executor) -> None:
    assert "pickle" in str(assert_fails_alone(executor, give_unsendable))


NOT_PICKLED = "nothing is pickled where caller and calls share one memory"


@instead(an_argument_that_cannot_be_pickled_fails_that_call_alone, THREADS, because=NOT_PICKLED)
@instead(a_result_that_cannot_be_pickled_fails_that_call_alone, THREADS, because=NOT_PICKLED)
def any_object_comes_and_goes_as_it_is(executor: Executor) -> None:
    lock = threading.Lock()
    assert executor.submit(give_back, lock).result(PATIENCE) is lock
    assert executor.submit(give_unsendable).exception(PATIENCE) is None


@behaviour
def an_exception_that_cannot_be_pickled_fails_that_call_alone(executor: Executor) -> None:
    assert_fails_alone(executor, raise_unsendable)


@behaviour
def an_exception_that_cannot_be_unpickled_fails_that_call_alone(executor: Executor) -> None:
    error = assert_fails_alone(executor, raise_unreadable)
    assert isinstance(error, Unreadable) or "Unreadable: the letter: no stamp" in str(error)


@instead(
    an_exception_that_cannot_be_unpickled_fails_that_call_alone,
    PROCESSES,
    because="its thread that reads results unpickles them, and does not outlive one that fails",
)
def an_exception_that_cannot_be_unpickled_breaks_the_pool(kind: Kind) -> None:
    with kind() as executor:
        assert isinstance(executor.submit(raise_unreadable).exception(PATIENCE), BrokenProcessPool)
        with raises(BrokenProcessPool):
            executor.submit(add, 1, 2)


@behaviour
def a_lambda_and_a_closure_can_be_called(executor: Executor) -> None:
    offset = 10

    def plus_offset(n: int) -> int:
        return n + offset

    assert executor.submit(lambda n: n * n, 7).result(PATIENCE) == 49
    assert executor.submit(plus_offset, 7).result(PATIENCE) == 17
    assert list(executor.map(lambda n: n + offset, range(3))) == [10, 11, 12]
    assert executor.submit(lambda call: call(2), lambda n: n * 3).result(PATIENCE) == 6


@instead(a_lambda_and_a_closure_can_be_called, PROCESSES, because="it pickles functions by their name only")
def a_lambda_cannot_be_pickled(executor: Executor) -> None:
    assert "pickle" in str(assert_fails_alone(executor, lambda n: n * n, 7))


@behaviour
def calls_have_memory_of_their_own(executor: Executor) -> None:
    given: list[int] = []
    executor.submit(given.append, 1).result(PATIENCE)
    assert given == []


@instead(calls_have_memory_of_their_own, THREADS, because=NOT_PICKLED)
def calls_share_the_memory_of_the_caller(executor: Executor) -> None:
    given: list[int] = []
    executor.submit(given.append, 1).result(PATIENCE)
    assert given == [1]
