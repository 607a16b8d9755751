"""Which leases a worker still holds when its connection was made anew."""

from __future__ import annotations

from taskyard.model import Lease
from worker.buffer import Buffer


def leased(*ids: str) -> list[Lease]:
    return [Lease(task_id, 1, 1, "work", b"", 0.0, "job") for task_id in ids]


def ids(buffer: Buffer) -> list[str]:
    return [lease.id for lease in buffer]


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
    buffer.extend(leased("a", "b", "c"))
    buffer.drop("b")
    assert ids(buffer) == ["a", "c"]
