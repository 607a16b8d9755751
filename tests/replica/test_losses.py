"""What NATS has lost, leaders that do not know it, and who leads then."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from master import sql
from master.replica import lead
from master.replica.entries import Claim, draw_lead, pack_claim
from master.replica.lead import stand_by
from master.replica.log import Holder, Log, LogState
from master.replica.store import ReplicaStore
from master.store import LeadLost
from taskyard.errors import Unreachable
from tests.harness import InThread
from tests.nats_member import NewQueue
from tests.replica.copies import Forgetful, Make, items, kept_beside, leading, lose_log, put, same


@pytest.fixture
def make(forgetful: Forgetful) -> Iterator[Make]:
    """Makes the store of a folder on the server that forgets."""
    made: list[ReplicaStore] = []

    def make_one(folder: str) -> ReplicaStore:
        made.append(ReplicaStore(forgetful.folder / folder, forgetful.log))
        return made[-1]

    yield make_one
    for store in made:
        store.close()


# Two leaders


def test_a_leader_that_was_frozen_while_nats_lost_its_last_answer_can_write_nothing_more(
    forgetful: Forgetful, make: Make
) -> None:
    frozen = leading(make("a"))
    put(frozen, 1)
    forgetful.remember()
    put(frozen, 2)
    forgetful.set_back()
    later = leading(make("b"))
    assert later.applied == frozen.applied, "its claim stands where the other one's last message stood"
    with pytest.raises(LeadLost, match=r"another master leads|did not take"):
        put(frozen, 3)
    frozen.rollback()
    put(later, 4)
    follower = make("c")
    follower.catch_up()
    assert items(follower) == [1, 4]
    assert same(later, follower)


def test_a_leader_that_lost_its_end_and_whose_place_was_written_anew_by_several_entries_can_write_nothing_more(
    forgetful: Forgetful, make: Make
) -> None:
    frozen = leading(make("a"))
    put(frozen, 1)
    forgetful.remember()
    for seq in (2, 3, 4):
        put(frozen, seq)
    forgetful.set_back()
    later = leading(make("b"))
    for seq in (5, 6):
        put(later, seq)
    assert later.applied == frozen.applied
    with pytest.raises(LeadLost):
        put(frozen, 7)
    frozen.rollback()
    put(later, 8)
    assert items(later) == [1, 5, 6, 8]


def test_whoever_begins_to_lead_upon_what_is_not_in_the_log_any_more_does_not_count(forgetful: Forgetful, make: Make) -> None:
    first, mistaken, alike = leading(make("a")), make("b"), make("c")
    put(first, 1)
    forgetful.remember()
    put(first, 2)
    for store in (mistaken, alike):
        store.catch_up()
    forgetful.set_back()
    later = leading(make("d"))
    assert later.applied == mistaken.applied, "it does not see by the log's length that this is another one"
    leading(mistaken)  # first behind the later one's claim, as if that were what it has replayed
    with pytest.raises(LeadLost):
        put(later, 3)
    later.rollback()
    put(mistaken, 4)
    assert items(mistaken) == [1, 4]
    assert kept_beside(mistaken)
    alike.catch_up()
    new = make("e")
    new.catch_up()
    assert items(alike) == items(new) == [1, 4]
    assert same(mistaken, new)


@pytest.mark.parametrize("claim", [Claim("x", sql.VERSION, "0", 5, True), Claim("x", sql.VERSION + 1, "0", 5, False)])
def test_a_claim_upon_what_was_lost_replaces_nothing_and_needs_no_newer_release(
    forgetful: Forgetful, make: Make, claim: Claim
) -> None:
    leader, lead = leading(make("a")), draw_lead(5)
    put(leader, 1)
    forgetful.log.claim(lead, leader.applied, pack_claim(lead, claim))
    with pytest.raises(LeadLost):
        put(leader, 2)
    leader.rollback()
    follower = leading(make("b"))
    put(follower, 3)
    assert items(follower) == [1, 3]


def test_a_claim_whose_answer_was_lost_is_made_anew_under_another_number(forgetful: Forgetful, make: Make) -> None:
    store = make("a")
    with pytest.MonkeyPatch.context() as patch:
        real = forgetful.log._append

        async def unheard(*args: object) -> int:
            await real(*args)  # type: ignore[arg-type]
            raise TimeoutError

        patch.setattr(forgetful.log, "_append", unheard)
        with pytest.raises(Unreachable):
            store.lead("a", "0")
    assert forgetful.log.state().last == 1, "it was tried once"
    put(leading(store), 1)
    follower = make("b")
    follower.catch_up()
    assert same(store, follower)


def test_a_thawed_leader_does_not_drop_the_snapshot_that_the_next_one_leads_upon(forgetful: Forgetful, make: Make) -> None:
    frozen, ahead = leading(make("a")), make("b")
    put(frozen, 1)
    forgetful.remember()
    put(frozen, 2)
    ahead.catch_up()
    put(frozen, 3)
    forgetful.set_back()
    leading(ahead)
    with pytest.raises(LeadLost, match="another master has begun to lead"):
        frozen.save_snapshot()
    put(ahead, 4)
    follower = make("c")
    follower.catch_up()
    assert items(follower) == [1, 2, 4]
    assert same(ahead, follower)


def test_a_copy_that_has_replayed_what_was_lost_does_not_go_on_with_what_was_written_instead(
    forgetful: Forgetful, make: Make
) -> None:
    first, follower = leading(make("a")), make("b")
    put(first, 1)
    forgetful.remember()
    for seq in (2, 3):
        put(first, seq)
    follower.catch_up()
    forgetful.set_back()
    later = leading(make("c"))
    put(later, 4)
    assert later.applied == follower.applied, "the log is as long as it was"
    put(later, 5)
    follower.catch_up()
    assert items(follower) == [1, 4, 5]
    assert kept_beside(follower)
    assert same(later, follower)


# Who leads then


@contextmanager
def standing_by(log: Log, store: ReplicaStore, name: str, mine: bool = False) -> Iterator[InThread]:
    stop = threading.Event()
    looks = threading.Event()
    call = InThread(lambda: stand_by(log, store, name, "x", stop, looks.set, mine))
    assert looks.wait(10)
    try:
        yield call
    finally:
        stop.set()
        call.result()


@pytest.mark.parametrize("many", [1, 2], ids=["one-ahead", "two-ahead"])
def test_the_master_that_knows_most_of_what_nats_has_lost_leads_next(forgetful: Forgetful, make: Make, many: int) -> None:
    log = forgetful.log
    leader, behind, ahead = leading(make("a")), make("b"), make("c")
    log.hold("a", "", 0)
    put(leader, 1)
    behind.catch_up()
    forgetful.remember()
    put(leader, 2)
    if many == 2:
        behind.catch_up()
        put(leader, 3)
    ahead.catch_up()
    forgetful.set_back()
    revision = log.holder().revision
    with standing_by(log, behind, "b"), standing_by(log, ahead, "c") as call:
        assert call.result() == revision + 1, "nobody else has taken it before"
        assert log.holder().master == "c"


def test_a_master_that_has_more_says_so_also_while_it_looks_at_the_log_again(
    forgetful: Forgetful, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, ahead = leading(make("a")), make("b")
    put(leader, 1)
    forgetful.remember()
    put(leader, 2)
    ahead.catch_up()
    forgetful.set_back()
    ahead.catch_up()
    more, told, compare = ahead.more, [], ahead._is_of

    def look(log: LogState) -> bool:
        told.append(ahead.more)
        return compare(log)

    monkeypatch.setattr(ahead, "_is_of", look)
    ahead.catch_up()
    assert told == [more]
    assert more is not None


def test_a_master_that_has_more_is_not_waited_for_once_it_is_gone(forgetful: Forgetful, make: Make) -> None:
    log = forgetful.log
    leader, behind, ahead = leading(make("a")), make("b"), make("c")
    put(leader, 1)
    forgetful.remember()
    put(leader, 2)
    ahead.catch_up()
    forgetful.set_back()
    log.hold("", "", 0)
    end = log.offer(lambda: (1, 10))
    with standing_by(log, behind, "b") as call:
        assert log.is_surpassed((1, 9))
        assert not log.is_surpassed((1, 10))
        end()
        assert call.result()
    assert log.holder().master == "b"


def test_a_later_term_counts_for_more_than_a_longer_file(forgetful: Forgetful, make: Make) -> None:
    first = leading(make("a"))
    for seq in range(1, 5):
        put(first, seq)
    second = leading(make("b"))
    longer = (first.reach[0], second.reach[1] + 10)
    assert second.reach > longer


def test_whoever_has_kept_its_place_leads_again_at_once(
    forgetful: Forgetful, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lead, "LOST_SECONDS", 60.0)
    log, store = forgetful.log, make("a")
    log.hold("a", "", 0)
    with standing_by(log, store, "a", mine=True) as call:
        assert call.result()
    assert log.holder().master == "a"


def test_a_stream_of_leaders_that_nats_has_lost_is_made_anew(queue: NewQueue) -> None:
    queue.log.hold("a", "", 0)
    queue.log._run(queue.log._js.delete_stream(queue.log._streams.lead))
    assert queue.log.holder() == Holder("", "", 0)
    assert queue.log.hold("b", "", 0) == 1


def test_a_log_that_was_deleted_is_made_anew_and_has_again_what_the_leader_has(queue: NewQueue, forgetful: Forgetful) -> None:
    store = leading(ReplicaStore(forgetful.folder / "a", queue.log))
    put(store, 1)
    lose_log(queue)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("master.replica.log.APPEND_SECONDS", 1.0)
        with pytest.raises(LeadLost):
            put(store, 2)
    store.close()
    queue.log._run(queue.log._js.delete_stream(queue.log.name))
    again = leading(ReplicaStore(forgetful.folder / "a", queue.log))
    assert items(again) == [1]
    again.close()
