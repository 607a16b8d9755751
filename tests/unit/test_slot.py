"""A slot's work on a chunk: what it reports, and what stands in shared memory meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from taskyard import calls, context
from taskyard.codec import encode, encode_json
from worker import slot
from worker.reports import Report, Reports
from worker.slot import Runner

Run = Callable[..., list[Report]]


def arguments(*args: Any) -> bytes:
    return encode((args, {}))


@pytest.fixture
def shared() -> list[int]:
    return list(slot.AT_FIRST)


@pytest.fixture
def run(shared: list[int]) -> Iterator[Run]:
    """Runs a chunk of series, whose tasks call the function of their name; returns what is reported."""
    here, there = Pipe()

    def run_chunk(*chunk: slot.Series, **functions: Callable[..., Any]) -> list[Report]:
        Runner("app", functions, True, shared, Reports(there)).run_chunk(list(chunk))
        return list(received(here))

    yield run_chunk
    here.close()
    there.close()


def received(conn: Connection[Any, Any]) -> Iterator[Report]:
    kind = ""
    while kind != "end":
        kind, reports = conn.recv()
        yield from map(Report._make, reports)


def values(reports: list[Report]) -> list[tuple[int, str, bytes]]:
    """Index, kind and value of each task."""
    return [(one.first + n, one.kind, value) for one in reports for n, value in enumerate(one.values)]


def test_tasks_of_all_series_run_in_their_order_each_with_its_index(run: Run) -> None:
    told = run(
        ("a", 5, "double", 1, [arguments(n) for n in range(3)]),
        ("b", -1, "negate", 1, [arguments(7)]),
        ("a", 8, "double", 1, [encode_json(([3], {})), calls.pack_retry_on(("OSError",), arguments(4))]),
        double=lambda n: 2 * n,
        negate=lambda n: -n,
    )
    expected = [encode(0), encode(2), encode(4), encode(-7), b"j6", encode(8)]
    assert values(told) == [(index, "done", value) for index, value in enumerate(expected)]


def test_a_task_knows_its_own_id_name_and_attempt(run: Run) -> None:
    seen: list[Any] = []

    def look() -> None:
        seen.append((context.task_id(), context.attempt(), context.logger().name, context.fields()["task"]))

    run(("a", 5, "look", 2, [arguments()] * 2), ("alone", -1, "look", 1, [arguments()]), look=look)
    assert seen == [("a-5", 2, "look", "a-5"), ("a-6", 2, "look", "a-6"), ("alone", 1, "look", "alone")]
    assert (context.task_id(), context.fields()) == ("", {})


def test_while_a_task_runs_its_index_and_its_beginning_stand_in_shared_memory(run: Run, shared: list[int]) -> None:
    seen: list[list[int]] = []
    chunk = [("a", n, "look", 1, [arguments()] * 2) for n in (0, 2)]
    run(*chunk, look=lambda: seen.append(shared[:2]))
    assert [running for running, _ in seen] == [0, 1, 2, 3]
    assert [began for _, began in seen] == sorted({began for _, began in seen})
    assert shared[slot.RUNNING] == -1


def test_what_fails_leaves_its_neighbours_as_they_are(run: Run) -> None:
    told = run(
        ("a", 0, "invert", 1, [arguments(n) for n in (1, 0, 2)]), ("a", 3, "other", 1, [arguments()]), invert=lambda n: 1 / n
    )
    assert [(index, kind) for index, kind, _ in values(told)] == [(0, "done"), (1, "failed"), (2, "done"), (3, "failed")]
    causes = [report.cause for report in told if report.kind == "failed"]
    assert causes[0] == "exception: ZeroDivisionError: division by zero"
    assert "no function is registered here as 'other'" in causes[1]


def test_no_task_begins_behind_the_limit_that_is_set_meanwhile(run: Run, shared: list[int]) -> None:
    def work(n: int) -> int:
        if n == 1:
            shared[slot.LIMIT] = 0
        return n

    told = run(("a", 0, "work", 1, [arguments(n) for n in range(3)]), ("b", 0, "work", 1, [arguments(9)]), work=work)
    assert values(told) == [(0, "done", encode(0)), (1, "done", encode(1))]


def test_only_the_task_that_is_cancelled_hears_of_it(run: Run, shared: list[int]) -> None:
    shared[slot.CANCELLED] = 3
    told = run(("a", 0, "ask", 1, [arguments()] * 2), ("b", 0, "ask", 1, [arguments()] * 2), ask=context.cancelled)
    assert [value for _, _, value in values(told)] == [encode(False)] * 3 + [encode(True)]
    assert shared[slot.ASKED] == 3
