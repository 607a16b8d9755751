"""Futures: their states, cancelling, callbacks, waiting for some of them, asyncio."""

from __future__ import annotations

import asyncio
import threading
import uuid
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    CancelledError,
    Executor,
    Future,
    TimeoutError,
    as_completed,
    wait,
)
from typing import Any

from tests.executors.functions import Refused, add, mark, pause, pause_and_refuse, refuse
from tests.executors.listing import (
    OURS,
    PATIENCE,
    Kind,
    all_marks,
    behaviour,
    ended,
    fill,
    instead,
    logged,
    raises,
    until,
    values,
)


@behaviour
def a_result_that_is_not_there_in_time_is_a_timeout_and_comes_later(executor: Executor) -> None:
    future = executor.submit(pause, 2.0, "later")
    with raises(TimeoutError):
        future.result(0.05)
    with raises(TimeoutError):
        future.exception(timeout=0)
    assert not future.done()
    assert future.result(PATIENCE) == "later"


@behaviour
def a_future_is_pending_then_running_then_done(executor: Executor, kind: Kind) -> None:
    first, *_, last = futures = fill(executor, kind)
    assert (last.done(), last.cancelled()) == (False, False)  # it may be with a worker already, behind another one
    until(lambda: first.running() or first.done(), "its turn has come")
    assert first.result(PATIENCE) == 0
    assert (first.running(), first.done(), first.cancelled()) == (False, True, False)
    until(lambda: last.running() or last.done(), "the last one's turn has come")
    assert values(futures) == list(range(len(futures)))


# Cancelling


@behaviour
def a_waiting_call_can_be_cancelled_and_never_runs(executor: Executor, kind: Kind) -> None:
    busy, token = fill(executor, kind), str(uuid.uuid4())
    waiting, next_one = executor.submit(mark, token), executor.submit(mark, f"{token}, the next")
    assert busy[0].result(PATIENCE) == 0  # by now it waits wherever calls wait
    assert waiting.cancel()
    assert (waiting.cancelled(), waiting.done(), waiting.running()) == (True, True, False)
    with raises(CancelledError):
        waiting.result(0)
    with raises(CancelledError):
        waiting.exception(0)
    assert waiting.cancel(), "once more does no harm"
    values(busy)
    assert next_one.result(PATIENCE) is None
    assert {token, f"{token}, the next"} & all_marks(executor, kind) == {f"{token}, the next"}


@behaviour
def a_call_that_has_ended_cannot_be_cancelled(executor: Executor) -> None:
    done, failed = executor.submit(add, 1, 2), executor.submit(refuse, 1)
    assert ended([done, failed])
    assert (done.cancel(), failed.cancel()) == (False, False)
    assert (done.cancelled(), done.result()) == (False, 3)
    assert isinstance(failed.exception(), Refused)


@behaviour
def a_running_call_cannot_be_cancelled(executor: Executor) -> None:
    future = executor.submit(pause, 0.3, "it ran")
    until(future.running, "it runs")
    assert not future.cancel()
    assert future.result(PATIENCE) == "it ran"


@instead(
    a_running_call_cannot_be_cancelled,
    *OURS,
    because="a call may take hours on somebody else's machine, and its process can be stopped without harm to others",
)
def a_running_call_can_be_cancelled_too_and_is_stopped(executor: Executor, kind: Kind) -> None:
    futures = [executor.submit(pause, 600) for _ in range(kind.workers)]
    until(lambda: all(future.running() for future in futures), "they run")
    assert [future.cancel() for future in futures] == [True] * kind.workers
    with raises(CancelledError):
        futures[0].result(0)
    assert executor.submit(add, 1, 2).result(PATIENCE) == 3, "no worker is held up"


# Callbacks


@behaviour
def callbacks_are_called_once_each_in_order_with_the_future(executor: Executor) -> None:
    future, called = executor.submit(pause, 0.1, "value"), threading.Event()
    seen: list[tuple[str, Future[Any], bool]] = []
    for name in "abc":
        future.add_done_callback(lambda of, name=name: seen.append((name, of, of.done())))  # type: ignore[misc]
    future.add_done_callback(lambda of: called.set())
    assert called.wait(PATIENCE)
    assert seen == [(name, future, True) for name in "abc"]


@behaviour
def a_callback_of_a_future_that_is_done_is_called_at_once(executor: Executor) -> None:
    future = executor.submit(add, 1, 2)
    future.result(PATIENCE)
    seen: list[int] = []
    future.add_done_callback(lambda of: seen.append(of.result()))
    assert seen == [3]


@behaviour
def a_callback_of_a_failed_and_of_a_cancelled_call_is_called_too(executor: Executor, kind: Kind) -> None:
    busy = fill(executor, kind)
    seen: list[Any] = []
    failed, cancelled = executor.submit(refuse, 1), executor.submit(add, 1, 2)
    failed.add_done_callback(lambda of: seen.append(type(of.exception()).__name__))
    cancelled.add_done_callback(lambda of: seen.append(of.cancelled()))
    cancelled.cancel()
    assert seen == [True]
    values(busy)
    until(lambda: seen == [True, "Refused"], "the failed one's too")


@behaviour
def an_exception_in_a_callback_is_logged_and_harms_nobody(executor: Executor) -> None:
    def fail(of: Future[Any]) -> None:
        raise LookupError("of the callback")

    future, called = executor.submit(pause, 0.1, "value"), threading.Event()
    with logged() as lines:
        future.add_done_callback(fail)
        future.add_done_callback(lambda of: called.set())
        assert called.wait(PATIENCE)
    assert [line for line in lines if "exception calling callback" in line and "LookupError: of the callback" in line]
    assert future.result() == "value"
    assert executor.submit(add, 1, 2).result(PATIENCE) == 3


@behaviour
def a_callback_may_submit(executor: Executor) -> None:
    further: list[Future[int]] = []
    executor.submit(pause, 0.1, 5).add_done_callback(lambda of: further.append(executor.submit(add, of.result(), 1)))
    until(lambda: further, "the callback was called")
    assert further[0].result(PATIENCE) == 6


# Waiting


@behaviour
def wait_returns_at_the_first_end_at_the_first_exception_or_when_all_have_ended(executor: Executor, kind: Kind) -> None:
    short, long = executor.submit(pause, 0.05, "short"), executor.submit(pause, 2.0, "long")
    assert wait([short, long], PATIENCE, FIRST_COMPLETED) == ({short}, {long})
    assert wait([short, long], PATIENCE, ALL_COMPLETED) == ({short, long}, set())
    failing, long = executor.submit(pause_and_refuse, 0.05), executor.submit(pause, 2.0)
    assert wait([short, failing, long], PATIENCE, FIRST_EXCEPTION) == ({short, failing}, {long})
    assert wait([long, short], PATIENCE, FIRST_EXCEPTION) == ({short, long}, set()), "without one it waits for all"


@behaviour
def wait_returns_what_is_done_in_time(executor: Executor) -> None:
    short, long = executor.submit(pause, 0.01), executor.submit(pause, 2.0)
    short.result(PATIENCE)
    assert wait([short, long], timeout=0.05) == ({short}, {long})
    assert ended([long])


@behaviour
def wait_and_as_completed_take_cancelled_futures_for_done(executor: Executor, kind: Kind) -> None:
    busy = fill(executor, kind)
    first, second = executor.submit(add, 1, 2), executor.submit(add, 3, 4)
    assert (first.cancel(), second.cancel()) == (True, True)
    assert wait([first], PATIENCE) == ({first}, set())
    assert list(as_completed([second], PATIENCE)) == [second]
    values(busy)


@behaviour
def as_completed_yields_in_the_order_of_the_ends(executor: Executor) -> None:
    long, short = executor.submit(pause, 2.0), executor.submit(pause, 0.05)
    assert list(as_completed([long, short], PATIENCE)) == [short, long]
    assert set(as_completed([long, short], 0)) == {short, long}


@behaviour
def as_completed_yields_a_future_that_is_given_twice_once(executor: Executor) -> None:
    future, other = executor.submit(pause, 0.05), executor.submit(add, 1, 2)
    assert sorted(map(id, as_completed([future, other, future], PATIENCE))) == sorted([id(future), id(other)])


@behaviour
def as_completed_is_a_timeout_after_what_came_in_time(executor: Executor) -> None:
    short, long = executor.submit(pause, 0.01), executor.submit(pause, 2.0)
    short.result(PATIENCE)
    seen = []
    with raises(TimeoutError, "1 (of 2) futures unfinished"):
        for future in as_completed([short, long], 0.1):
            seen.append(future)  # noqa: PERF402 - what came before the exception
    assert seen == [short]
    assert ended([long])


# asyncio


@behaviour
def asyncio_can_wait_for_calls(executor: Executor) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(executor, add, 1, 2) == 3
        assert await asyncio.wrap_future(executor.submit(add, 3, 4)) == 7
        awaited = [asyncio.wrap_future(executor.submit(pause, 0.05, n)) for n in range(10)]
        assert await asyncio.gather(*awaited) == list(range(10))
        with raises(Refused):
            await loop.run_in_executor(executor, refuse, 1)
        told = await asyncio.gather(loop.run_in_executor(executor, refuse, 1), awaited[0], return_exceptions=True)
        assert isinstance(told[0], Refused)

    asyncio.run(main())


@behaviour
def a_call_that_asyncio_cancels_or_gives_up_is_cancelled(executor: Executor, kind: Kind) -> None:
    async def main() -> None:
        waiting = executor.submit(add, 1, 2)
        awaited = asyncio.wrap_future(waiting)
        awaited.cancel()
        with raises(asyncio.CancelledError):
            await awaited
        given_up = executor.submit(add, 3, 4)
        with raises(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.wrap_future(given_up), 0.05)
        assert (waiting.cancelled(), given_up.cancelled()) == (True, True)

    busy = fill(executor, kind, 0.3)
    asyncio.run(main())
    assert values(busy) == list(range(len(busy)))
