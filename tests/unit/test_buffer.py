"""Which leases a worker still holds when its connection was made anew."""

from __future__ import annotations

from collections.abc import Iterable

from taskyard.series import LeaseSeries, join_id, part, split_id
from worker.buffer import Buffer


def leased(*ids: str) -> list[LeaseSeries]:
    return [LeaseSeries(*split_id(task_id), 1, 1, "work", [task_id.encode()], 0.0, "job") for task_id in ids]


def run_of(first: int, many: int) -> LeaseSeries:
    return LeaseSeries("job", first, 1, 1, "work", [f"job-{n}".encode() for n in range(first, first + many)], 0.0, "job")


def names(leases: Iterable[LeaseSeries]) -> list[str]:
    """Ids of the tasks; each has its own payload still."""
    found = [(join_id(one.prefix, one.first + n), payload) for one in leases for n, payload in enumerate(one.payloads)]
    assert all(payload.decode() == task_id for task_id, payload in found)
    return [task_id for task_id, _ in found]


def ids(buffer: Buffer) -> list[str]:
    assert buffer.tasks == sum(len(lease.payloads) for lease in buffer)
    return names(buffer)


def take(buffer: Buffer, generation: int) -> list[str]:
    for lease in buffer.arrived(generation):
        buffer.append(lease)
    return ids(buffer)


def test_leases_wait_in_the_order_in_which_they_arrived() -> None:
    buffer = Buffer()
    buffer.arrive(1, leased("a", "b"))
    buffer.arrive(1, leased("c"))
    assert buffer.has_arrived
    assert take(buffer, 1) == ["a", "b", "c"]
    assert not buffer.has_arrived
    assert take(buffer, 1) == ["a", "b", "c"]


def test_a_new_connection_ends_what_waits_of_the_former_before_anything_new_arrives() -> None:
    buffer = Buffer()
    buffer.arrive(1, leased("a"))
    take(buffer, 1)
    assert take(buffer, 2) == []


def test_leases_of_the_new_connection_are_kept_though_they_arrive_in_the_same_turn_in_which_it_is_noticed() -> None:
    buffer = Buffer()
    buffer.arrive(1, leased("a"))
    take(buffer, 1)
    buffer.arrive(2, leased("a", "b"))
    assert take(buffer, 2) == ["a", "b"]


def test_leases_of_a_connection_that_was_made_after_the_caller_looked_are_kept() -> None:
    buffer = Buffer()
    buffer.arrive(1, leased("a"))
    buffer.arrive(2, leased("b"))
    assert take(buffer, 1) == ["b"]
    assert take(buffer, 2) == ["b"]


def test_leases_that_arrive_after_their_connection_has_ended_are_dropped() -> None:
    buffer = Buffer()
    buffer.arrive(1, leased("a"))
    assert take(buffer, 2) == []


def test_a_cancelled_task_waits_no_more() -> None:
    buffer = Buffer()
    for lease in (*leased("a", "b", "c"), run_of(4, 3)):
        buffer.append(lease)
    for task_id in ("b", "job-5", "job-7", "d", "c-4"):
        buffer.drop(task_id)
    assert ids(buffer) == ["a", "c", "job-4", "job-6"]


def test_tasks_are_taken_in_their_order_whatever_series_they_came_in() -> None:
    buffer = Buffer()
    buffer.append(run_of(10, 3))
    buffer.append(run_of(1, 3))
    taken = buffer.take(4)
    assert (names(taken), ids(buffer)) == (["job-10", "job-11", "job-12", "job-1"], ["job-2", "job-3"])
    buffer.put_back(taken)
    assert ids(buffer) == ["job-10", "job-11", "job-12", "job-1", "job-2", "job-3"]
    assert len(buffer.take(100)) == 3
    assert (ids(buffer), buffer.take(1)) == ([], [])


def test_the_last_ones_can_be_taken() -> None:
    buffer = Buffer()
    for lease in (*leased("a", "b"), run_of(4, 3)):
        buffer.append(lease)
    assert names(buffer.take_last(2)) == ["job-5", "job-6"]
    assert ids(buffer) == ["a", "b", "job-4"]
    assert (buffer.take_last(0), ids(buffer)) == ([], ["a", "b", "job-4"])


def test_a_part_of_a_series_is_one_itself() -> None:
    whole = run_of(3, 4)
    assert part(whole, 0, 4) is whole
    assert names([part(whole, 1, 3)]) == ["job-4", "job-5"]
