"""What a slot holds: which of its tasks have an end, under which lease, and what a new lease of them changes."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from taskyard.series import LeaseSeries, join_id
from worker.chunk import Chunk


def lease(prefix: str, first: int, many: int, token: int = 1, time_limit: float = 0.0) -> LeaseSeries:
    payloads = [join_id(prefix, first + n).encode() for n in range(many)]
    return LeaseSeries(prefix, first, token, 1, "work", payloads, time_limit, "job")


def ids(leases: Iterable[LeaseSeries]) -> list[str]:
    """Of their tasks, which have their own payloads still."""
    found = [(join_id(one.prefix, one.first + n), payload) for one in leases for n, payload in enumerate(one.payloads)]
    assert all(payload.decode() == task_id for task_id, payload in found)
    return [task_id for task_id, _ in found]


def tokens(chunk: Chunk) -> list[int]:
    """Of the lease under which each open task is settled."""
    return [one.token for _, one in chunk.open(0, chunk.size) for _ in one.payloads]


@pytest.fixture
def chunk() -> Chunk:
    """Of nine tasks: a-3 to a-6, one without a number, b-0 to b-3."""
    return Chunk([lease("a", 3, 4, token=1), lease("alone", -1, 1, token=2), lease("b", 0, 4, token=3)])


def test_an_index_counts_through_all_series(chunk: Chunk) -> None:
    found = [one and ids([one]) for one in map(chunk.one, range(-1, chunk.size + 1))]
    assert found == [None, ["a-3"], ["a-4"], ["a-5"], ["a-6"], ["alone"], ["b-0"], ["b-1"], ["b-2"], ["b-3"], None]
    assert [chunk.find(task_id) for task_id in ("a-3", "alone", "b-3", "a-7", "b", "c-0")] == [0, 4, 8, -1, -1, -1]


def test_what_has_ended_is_open_no_more_and_ends_once(chunk: Chunk) -> None:
    assert [(index, ids([one])) for index, one in chunk.end(2, 6)] == [(2, ["a-5", "a-6"]), (4, ["alone"]), (5, ["b-0"])]
    assert chunk.end(2, 6) == []
    assert (chunk.holding(), chunk.one(4), chunk.find("a-5")) == (5, None, -1)
    assert [index for index, _ in chunk.end(0, 100)] == [0, 6]
    assert chunk.holding() == 0


def test_gaps_are_left_out(chunk: Chunk) -> None:
    for index in (1, 6):
        chunk.end(index, index + 1)
    parts = [(index, ids([one])) for index, one in chunk.open(0, chunk.size)]
    assert parts == [(0, ["a-3"]), (2, ["a-5", "a-6"]), (4, ["alone"]), (5, ["b-0"]), (7, ["b-2", "b-3"])]


def test_an_empty_chunk_holds_nothing() -> None:
    chunk = Chunk()
    assert (chunk.size, chunk.holding(), chunk.one(0), chunk.find("a"), chunk.end(0, 9)) == (0, 0, None, -1, [])
    assert chunk.adopt(lease("a", 0, 1)) == [lease("a", 0, 1)]


def test_a_time_limit_of_any_task_is_to_be_watched(chunk: Chunk) -> None:
    assert not chunk.has_limit
    assert Chunk([lease("a", 0, 1), lease("b", 0, 1, time_limit=0.5)]).has_limit


def test_a_new_lease_counts_for_what_it_shares_with_the_old_one(chunk: Chunk) -> None:
    others = chunk.adopt(lease("a", 5, 10, token=9))
    assert ids(others) == [f"a-{n}" for n in range(7, 15)]
    assert {one.token for one in others} == {9}
    assert tokens(chunk) == [1, 1, 9, 9, 2, 3, 3, 3, 3]
    assert ids(one for _, one in chunk.open(0, 4)) == ["a-3", "a-4", "a-5", "a-6"]


def test_what_had_an_end_already_runs_again_under_its_new_lease(chunk: Chunk) -> None:
    chunk.end(1, 3)
    others = chunk.adopt(lease("a", 0, 10, token=9))
    assert [ids([one]) for one in others] == [["a-0", "a-1", "a-2"], ["a-4", "a-5"], ["a-7", "a-8", "a-9"]]
    assert tokens(chunk) == [9, 9, 2, 3, 3, 3, 3]


def test_a_lease_of_one_task_in_the_middle_leaves_its_neighbours_as_they_were(chunk: Chunk) -> None:
    assert chunk.adopt(lease("b", 1, 1, token=9)) == []
    assert tokens(chunk) == [1, 1, 1, 1, 2, 3, 9, 3, 3]
    assert chunk.adopt(lease("alone", -1, 1, token=8)) == []
    assert tokens(chunk) == [1, 1, 1, 1, 8, 3, 9, 3, 3]
    assert [chunk.find(f"b-{n}") for n in range(4)] == [5, 6, 7, 8]


def test_a_series_may_take_over_several_in_whatever_order_they_stand() -> None:
    chunk = Chunk([lease("a", 6, 2), lease("a", 0, 2), lease("a", 3, 1)])
    assert [ids([one]) for one in chunk.adopt(lease("a", 0, 9, token=9))] == [["a-2"], ["a-4", "a-5"], ["a-8"]]
    assert tokens(chunk) == [9] * 5
    assert ids(one for _, one in chunk.open(0, 5)) == ["a-6", "a-7", "a-0", "a-1", "a-3"]


def test_leases_of_other_tasks_are_none_of_its_business(chunk: Chunk) -> None:
    for other in (lease("a", 0, 3), lease("a", 7, 3), lease("c", 3, 3), lease("other", -1, 1)):
        assert chunk.adopt(other) == [other]
    assert tokens(chunk) == [1, 1, 1, 1, 2, 3, 3, 3, 3]
