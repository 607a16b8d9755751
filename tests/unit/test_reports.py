"""What a slot tells its supervisor, and when."""

from __future__ import annotations

from collections.abc import Iterator
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import pytest

from taskyard.model import Lease, Outcome
from worker.reports import Report, Reports


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


def report(number: int) -> Report:
    return Report(number, "done", b"value", "", False, 0.1)


def test_a_result_comes_soon_also_if_no_other_follows(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    reports, conn = ends
    reports.add(report(3))
    assert receive(conn) == ("reports", [tuple(report(3))])


def test_the_end_of_a_chunk_brings_all_that_was_not_sent(ends: tuple[Reports, Connection[Any, Any]]) -> None:
    reports, conn = ends
    reports.add(report(0))
    reports.add(report(1))
    reports.flush(end=True)
    kind, content = receive(conn)
    if kind == "reports":  # 5 ms have passed between these lines
        kind, rest = receive(conn)
        content += rest
    assert (kind, content) == ("end", [tuple(report(0)), tuple(report(1))])


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


def test_a_report_is_settled_as_it_came() -> None:
    lease = Lease("id", 5, 1, "work", b"", 0.0, "job")
    assert Report(0, "failed", b"v", "exception: X", True, 0.1).outcome(lease) == Outcome(
        "id", 5, "failed", b"v", "exception: X", -1.0, True
    )
