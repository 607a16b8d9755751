"""Crash points and words of NATS that are out of date: a copy never goes on with what is not the log's history."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from master.replica.snapshots import Gone
from master.replica.store import ReplicaStore
from master.store import LeadLost, Store
from taskyard.errors import StoreFull, Unreachable
from tests.nats_member import NewQueue
from tests.replica.copies import Make, items, leading, lose_log, put, same, with_snapshot


class Crash(BaseException):
    """As when the process is killed here."""


def die(*_: object) -> None:
    raise Crash


def lag_once(queue: NewQueue, patch: pytest.MonkeyPatch) -> None:
    """Let the log's state be told as it was a moment ago, as a server that has just been elected may do."""
    real = queue.log.state
    patch.setattr(queue.log, "state", lambda: real()._replace(last=real().last - 1))


def test_a_snapshot_of_a_lost_history_is_not_loaded_though_its_place_is_later(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    for seq in range(1, 11):
        put(leader, seq)
    leader.save_snapshot()
    put(leader, 11)
    leader.close()
    lose_log(queue)
    again = leading(make("a"))
    put(again, 12)
    follower = make("b")
    follower.catch_up()
    assert items(follower) == list(range(1, 13))
    assert same(again, follower)


def test_a_master_that_dies_before_its_claim_leaves_the_log_and_its_snapshots_as_they_are(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = with_snapshot(make, monkeypatch, 10)
    other = make("b")
    put(leader, 11)
    other.catch_up()
    leader.close()
    mistaken = make("a")
    with monkeypatch.context() as patch:
        lag_once(queue, patch)
        patch.setattr(queue.log, "claim", die)
        with pytest.raises(Crash):
            mistaken.lead("a", "0")
    put(leading(other), 12)
    follower = make("c")
    follower.catch_up()
    assert items(follower) == list(range(1, 13))
    assert same(other, follower)


def test_a_snapshot_that_is_not_whole_takes_no_other_ones_place(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = with_snapshot(make, monkeypatch, 10)

    def cut_off(*_: object, **__: object) -> None:
        raise OSError("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(queue.log._snapshots.js, "publish", cut_off)
        with pytest.raises(Unreachable, match="cut off"):
            leader.save_snapshot()
    follower = make("b")
    follower.catch_up()
    assert same(leader, follower)


@pytest.mark.parametrize("error", [Gone(), Unreachable("NATS is away")], ids=["gone", "unreachable"])
def test_a_snapshot_that_cannot_be_had_now_is_asked_for_again(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    leader, other = leading(make("a")), make("b")
    put(leader, 1)
    other.catch_up()
    put(leader, 2)
    leader.close()
    lose_log(queue)
    again = leading(make("a"))

    def fail(*_: object) -> None:
        raise error

    follower = make("c")
    with monkeypatch.context() as patch:
        patch.setattr(queue.log, "load_snapshot", fail)
        with pytest.raises(Unreachable):
            follower.catch_up()
    follower.catch_up()
    assert items(follower) == [1, 2]
    assert same(again, follower)


@pytest.mark.parametrize("who", ["follower", "leader"])
def test_a_master_that_dies_while_it_makes_its_tables_starts_again(make: Make, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    leader = leading(make("a")) if who == "follower" else None
    dying = make("b")
    begin: Callable[[], None] = dying.catch_up if leader is not None else lambda: dying.lead("b", "0")
    with monkeypatch.context() as patch:
        patch.setattr(ReplicaStore, "_begin_lead", die)
        with pytest.raises(Crash):
            begin()
    dying.close()
    again = make("b")
    again.catch_up()
    put(leading(again), 1)
    assert items(again) == [1]


@pytest.mark.parametrize("statement", ["UPDATE n SET v = v + 1", "INSERT INTO n VALUES (1)"])
def test_a_log_that_seems_shorter_for_a_moment_is_not_replayed_twice(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    leader, follower = leading(make("a")), make("b")
    put(leader, 1)
    leader.change("CREATE TABLE n (v INTEGER UNIQUE)")
    leader.change("INSERT INTO n VALUES (0)")
    leader.commit()
    follower.catch_up()
    leader.change(statement)
    leader.commit()
    follower.catch_up()
    with monkeypatch.context() as patch:
        lag_once(queue, patch)
        follower.catch_up()
    follower.catch_up()
    put(leader, 3)
    follower.catch_up()
    assert same(leader, follower)


def test_what_the_log_has_and_the_leaders_disk_refuses_is_told_by_the_next_leader(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, other = leading(make("a")), make("b")

    def refuse(_: Store) -> bool:
        raise StoreFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", refuse)
        with pytest.raises(LeadLost, match="the log has what this master can't write: the disk is full"):
            put(leader, 1)
    leader.rollback()
    assert items(leader) == []
    assert items(leading(other)) == [1]
    leader.close()
    again = make("a")
    again.catch_up()
    assert same(again, other)
