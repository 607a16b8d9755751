"""What a slot tells its supervisor, and when."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from worker.reports import FLUSH_SECONDS, Report, Reports
from worker.running import Failed


@pytest.fixture
def ends() -> Iterator[tuple[Reports, Connection[Any, Any]]]:
    here, there = Pipe()
    yield Reports(there), here
    here.close()
    there.close()


def receive(conn: Connection[Any, Any]) -> tuple[str, Any]:
    assert conn.poll(5), "nothing comes"
    kind, content = conn.recv()
    return kind, content


def done(reports: Reports, *numbers: int) -> None:
    """Each of these tasks took a second and returned its number."""
    for number in numbers:
        reports.done(number, b"%d" % number, number * 10**9, (number + 1) * 10**9)


def reports_of(conn: Connection[Any, Any]) -> list[Report]:
    """All that is told of a chunk, up to its end."""
    told: list[Report] = []
    while True:
        kind, content = receive(conn)
        told += map(Report._make, content)
        if kind == "end":
            return told


def test_a_result_comes_soon_also_if_no_other_follows(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    reports, conn = ends
    reports.begin(9)
    done(reports, 3)
    assert receive(conn) == ("reports", [(3, "done", [b"3"], 1.0, "", False)])


def test_the_last_result_comes_with_the_end_of_its_chunk(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    reports, conn = ends
    reports.begin(1)
    done(reports, 0)
    assert not conn.poll(10 * FLUSH_SECONDS)
    reports.flush(end=True)
    assert receive(conn) == ("end", [(0, "done", [b"0"], 1.0, "", False)])


def test_values_that_follow_each_other_are_one_report(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    reports, conn = ends
    reports.begin(1000)
    reports.begin_series("work")
    done(reports, *range(500))
    reports.begin_series("work")
    done(reports, *range(500, 1000))
    reports.flush(end=True)
    told = reports_of(conn)
    assert len(told) < 10, "but for what went out meanwhile"
    assert [value for report in told for value in report.values] == [b"%d" % n for n in range(1000)]
    assert [report.first for report in told] == [0, *(report.first + len(report.values) for report in told[:-1])]
    assert sum(report.seconds for report in told) == 1000


def test_values_of_another_name_are_another_report(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    """Their durations are measured apart."""
    reports, conn = ends
    reports.begin(3)
    for name, numbers in (("short", (0, 1)), ("long", (2,))):
        reports.begin_series(name)
        done(reports, *numbers)
    reports.flush(end=True)
    assert (2, [b"2"]) in [(report.first, report.values) for report in reports_of(conn)]


def test_a_failure_stands_between_the_values_around_it(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    reports, conn = ends
    reports.begin(4)
    done(reports, 0)
    reports.failed(1, Failed(b"error", "exception: X", True), 10**9, 3 * 10**9)
    done(reports, 2, 3)
    reports.flush(end=True)
    told = reports_of(conn)
    assert Report(1, "failed", [b"error"], 2.0, "exception: X", True) in told
    assert [value for report in told for value in report.values] == [b"0", b"error", b"2", b"3"]


def test_of_many_words_of_progress_the_last_one_comes_and_few_others(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    reports, conn = ends
    for n in range(1000):
        reports.tell(7, (n, 1000, "going on"))
    words = [receive(conn)]
    while words[-1][1] != (7, (999, 1000, "going on")):
        words.append(receive(conn))
    assert {kind for kind, _ in words} == {"progress"}
    assert len(words) < 10


def test_a_word_of_progress_does_not_outlive_its_chunk(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    """Its index means another task in the next one."""
    reports, conn = ends
    reports.tell(0, (1, 2, "sent at once"))
    assert receive(conn)[0] == "progress"
    reports.tell(0, (2, 2, "held back for a while"))
    reports.flush(end=True)
    assert receive(conn) == ("end", [])
    reports.tell(0, (1, 9, "of the next chunk"))
    assert receive(conn) == ("progress", (0, (1, 9, "of the next chunk")))
