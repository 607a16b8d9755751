"""Copies of one queue: what a leader has written all have, what it has not written nobody has."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from bench.nats_servers import NatsServers
from master import sql
from master.replica import log as log_module
from master.replica.entries import Claim, Turn, pack_claim, pack_turn
from master.replica.log import Log
from master.replica.store import ReplicaStore
from master.store import FILE, LeadLost, Store
from taskyard.broker import Broker
from taskyard.errors import SettingsError, StoreBroken, StoreFull, Unreachable, WrongKey
from taskyard.urls import parse_nats_url
from tests.harness import wait_until
from tests.nats_member import NewQueue
from tests.replica.copies import Forgetful, Make, answers, items, kept_beside, leading, put, same, with_snapshot

# Histories


def test_a_follower_has_what_the_leader_has_committed_and_nothing_else(make: Make) -> None:
    leader, follower = leading(make("a")), make("b")
    put(leader, 1)
    leader.change(sql.ADD_ITEM, 2, "task", b"rolled back")
    leader.rollback()
    put(leader, 3)
    leader.change(sql.ADD_ITEM, 4, "task", b"not committed")
    follower.catch_up()
    assert items(follower) == [1, 3]
    leader.rollback()
    assert same(leader, follower)


def test_what_is_longer_than_a_message_comes_whole(make: Make) -> None:
    leader, follower = leading(make("a")), make("b")
    put(leader, 1, 3 * log_module.MESSAGE_BYTES)
    put(leader, 2)
    follower.catch_up()
    assert same(leader, follower)


def test_of_an_entry_whose_leader_died_within_it_nothing_is_there(make: Make, queue: NewQueue) -> None:
    leader, follower = leading(make("a")), make("b")
    put(leader, 1)
    change = (sql.ADD_ITEM, False, (2, "task", b"x" * log_module.MESSAGE_BYTES))
    first, _ = pack_turn(leader._lead, Turn([change], 1), log_module.MESSAGE_BYTES)
    queue.log.append(leader._lead, leader.applied, first)
    other = leading(make("c"))
    put(other, 3)
    follower.catch_up()
    assert items(follower) == [1, 3]
    assert same(other, follower)


def test_a_leader_that_another_one_has_replaced_can_write_nothing_more(make: Make) -> None:
    former, later = leading(make("a")), leading(make("b"))
    with pytest.raises(LeadLost, match="another master leads"):
        put(former, 1)
    former.rollback()
    put(later, 2)
    assert items(later) == [2]
    former.close()
    again = make("a")
    again.catch_up()
    assert same(again, later)


def test_an_entry_whose_acknowledgement_was_lost_counts_once(make: Make, queue: NewQueue) -> None:
    leader, follower = leading(make("a")), make("b")
    change = (sql.ADD_ITEM, False, (1, "task", b"x" * 10))
    (message,) = pack_turn(leader._lead, Turn([change], 1), log_module.MESSAGE_BYTES)
    queue.log.append(leader._lead, leader.applied, message)  # as the leader is about to: it was heard, and the answer was not
    put(leader, 1)
    put(leader, 2)
    follower.catch_up()
    assert items(follower) == [1, 2]
    assert same(leader, follower)


def test_a_copy_that_differs_from_the_leaders_is_made_anew(make: Make, tmp_path: Path) -> None:
    leader, follower = leading(make("a")), make("b")
    put(leader, 1)
    follower.catch_up()
    follower.close()
    with closing(sqlite3.connect(tmp_path / "b" / FILE)) as db:
        db.execute("DELETE FROM item")
        db.commit()
    leader.change("UPDATE item SET value = x'00' WHERE seq = 1")
    leader.commit()
    put(leader, 2)
    again = make("b")
    again.catch_up()
    assert items(again) == [1, 2]
    assert kept_beside(again)
    assert same(leader, again)


def test_a_copy_with_another_history_is_made_anew_and_the_former_one_kept(make: Make, queue: NewQueue) -> None:
    former, later = leading(make("a")), leading(make("b"))
    former.close()
    with closing(sqlite3.connect(former.path)) as db, db:  # as if it had claimed the place where the later one's claim stands
        db.execute("UPDATE replica SET applied = 2")
        db.execute("UPDATE replica_lead SET place = 2")
    put(later, 1)
    again = make("a")
    again.catch_up()
    assert kept_beside(again)
    assert same(again, later)


def test_a_copy_that_knows_more_than_the_log_brings_it_back(forgetful: Forgetful, tmp_path: Path) -> None:
    first, second = leading(ReplicaStore(tmp_path / "a", forgetful.log)), ReplicaStore(tmp_path / "b", forgetful.log)
    put(first, 1)
    forgetful.remember()
    put(first, 2)
    second.catch_up()
    forgetful.set_back()
    first.close()
    put(leading(second), 3)
    again = ReplicaStore(tmp_path / "a", forgetful.log)
    again.catch_up()
    assert items(again) == [1, 2, 3]
    assert same(second, again)


def test_a_copy_that_knows_more_than_the_log_gives_way_where_that_has_gone_on(forgetful: Forgetful, tmp_path: Path) -> None:
    first, second = leading(ReplicaStore(tmp_path / "a", forgetful.log)), ReplicaStore(tmp_path / "b", forgetful.log)
    put(first, 1)
    forgetful.remember()
    put(first, 2)
    second.catch_up()
    first.close()
    forgetful.set_back()
    third = leading(ReplicaStore(tmp_path / "c", forgetful.log))
    for seq in (3, 4, 5):
        put(third, seq)
    second.catch_up()
    assert items(second) == [1, 3, 4, 5]
    assert kept_beside(second)
    assert same(second, third)


# Snapshots


def test_a_follower_begins_with_a_snapshot_where_the_log_begins_later(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = with_snapshot(make, monkeypatch, 10, 100_000)
    put(leader, 11)
    assert queue.log.state().first == leader.applied - 3
    follower = make("b")
    follower.catch_up()
    assert same(leader, follower)


def test_of_snapshots_only_the_latest_stays(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    for seq in (1, 2):
        put(leader, seq)
        leader.save_snapshot()
    assert [one.place for one in queue.log.snapshots()] == [leader.applied]


# From one master to many, and what was lost


def test_the_queue_of_a_single_master_goes_on_with_many(make: Make, tmp_path: Path) -> None:
    with closing(Store(tmp_path / "a")) as single:
        put(single, 1)
    leader, follower = leading(make("a")), make("b")
    put(leader, 2)
    follower.catch_up()
    assert items(follower) == [1, 2]
    assert same(leader, follower)


def test_the_queue_of_a_single_master_is_not_mixed_with_another_one(make: Make, tmp_path: Path) -> None:
    leader = leading(make("a"))
    put(leader, 1)
    with closing(Store(tmp_path / "b")) as single:
        put(single, 2)
    other = make("b")
    with pytest.raises(StoreBroken, match="holds a queue of its own"):
        other.catch_up()
    assert items(other) == [2]


def test_a_queue_takes_the_place_of_another_one_for_all_who_had_that(make: Make, tmp_path: Path, queue: NewQueue) -> None:
    leader, behind, level = leading(make("a")), make("b"), make("c")
    put(leader, 1)
    behind.catch_up()
    put(leader, 2)
    level.catch_up()
    with closing(Store(tmp_path / "d")) as single:
        put(single, 7)
    other = leading(ReplicaStore(tmp_path / "d", queue.log, after=leader.applied))
    put(other, 8)
    with pytest.raises(LeadLost, match="another master leads"):
        put(leader, 3)
    leader.rollback()
    leader.close()
    for store in (make("a"), behind, level, make("e")):
        store.catch_up()
        assert items(store) == [7, 8]
    assert same(other, behind)


def test_a_queue_takes_no_place_of_another_one_that_has_gone_on(make: Make, tmp_path: Path, queue: NewQueue) -> None:
    leader = leading(make("a"))
    place = leader.applied
    put(leader, 1)
    with closing(Store(tmp_path / "b")) as single:
        put(single, 7)
    with closing(ReplicaStore(tmp_path / "b", queue.log, after=place)) as other, pytest.raises(StoreBroken, match="has gone on"):
        leading(other)
    put(leader, 2)
    assert items(leader) == [1, 2]


def test_what_a_single_master_has_gone_on_with_is_no_copy_any_more(make: Make) -> None:
    leader = leading(make("a"))
    put(leader, 1)
    leader.close()
    with closing(Store(leader.path.parent)) as single:
        assert items(single) == [1]
        put(single, 2)
    with pytest.raises(StoreBroken, match="holds a queue of its own"):
        make("a").catch_up()


def test_a_log_that_has_lost_its_end_has_it_again(make: Make, queue: NewQueue) -> None:
    leader, other = leading(make("a")), make("b")
    put(leader, 1)
    put(leader, 2)
    other.catch_up()
    leader.close()
    broker = Broker(parse_nats_url(queue.url), "master", str)
    js = broker.open(5)
    broker.run(js.delete_stream(queue.log.name))
    broker.close()
    queue.log.open(5)
    again, follower = leading(make("a")), make("c")
    put(again, 3)
    follower.catch_up()
    assert items(follower) == [1, 2, 3]
    other.close()
    later = make("b")
    later.catch_up()
    assert same(again, later)
    assert kept_beside(later)


# Refusals


def test_a_release_that_is_too_old_for_the_log_says_so(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    queue.log.claim(1, leader.applied, pack_claim(1, Claim("new", sql.VERSION + 1, "99.0", leader._lead, False)))
    with pytest.raises(StoreBroken, match=r"release 99\.0 leads.*run that release here too"):
        make("b").catch_up()


def test_a_stream_with_other_settings_is_refused(queue: NewQueue) -> None:
    other = Log(Broker(parse_nats_url(queue.url), "master", str), queue.name, 1)
    broker = Broker(parse_nats_url(queue.url), "master", str)
    js = broker.open(5)
    config = broker.run(js.stream_info(queue.log.name)).config
    config.max_age = 600
    broker.run(js.update_stream(config))
    broker.close()
    with pytest.raises(SettingsError, match=r"has max_age 600\.0, expected is 0"):
        other.open(5)
    other.close()


def test_a_log_without_room_takes_nothing_and_says_so(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    broker = Broker(parse_nats_url(queue.url), "master", str)
    js = broker.open(5)
    config = broker.run(js.stream_info(queue.log.name)).config
    config.max_bytes = 100_000
    broker.run(js.update_stream(config))
    put(leader, 1)
    with pytest.raises(StoreFull, match="NATS has no room"):
        put(leader, 2, 200_000)
    leader.rollback()
    config.max_bytes = 1_000_000
    broker.run(js.update_stream(config))
    broker.close()
    put(leader, 3, 200_000)
    follower = make("b")
    follower.catch_up()
    assert items(follower) == [1, 3]
    assert same(leader, follower)


def test_a_leader_that_nats_does_not_answer_leads_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_module, "APPEND_SECONDS", 1.0)
    servers = NatsServers(tmp_path / "nats", 1)
    log = Log(Broker(parse_nats_url(servers.url), "master", str), "q", 1)
    log.open(5)
    store = leading(ReplicaStore(tmp_path / "a", log))
    servers.all[0].kill()
    with pytest.raises(LeadLost, match="NATS did not take"):
        put(store, 1)
    store.rollback()
    with pytest.raises(Unreachable, match="does not answer"):
        log.state()
    servers.all[0].start()
    servers.wait_until_ready()
    wait_until(lambda: answers(log), "it is connected again")
    store.close()
    again = leading(ReplicaStore(tmp_path / "a", log))
    put(again, 2)
    assert items(again)[-1] == 2
    again.close()
    log.close()
    servers.stop()


def test_a_wrong_password_and_a_wrong_address_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match=r"no NATS server answers at 127\.0\.0\.1:1 "):
        open_and_close("nats://127.0.0.1:1")
    servers = NatsServers(tmp_path, 1, 'authorization { users: [{user: "master", password: "right"}] }')
    with pytest.raises(WrongKey, match="does not let user 'master' in"):
        open_and_close(servers.url.replace("//", "//master:wrong@"))
    open_and_close(servers.url.replace("//", "//master:right@"))
    servers.stop()


def open_and_close(url: str) -> None:
    parsed = parse_nats_url(url)
    broker = Broker(parsed, parsed.user or "master", lambda: parsed.password)
    try:
        broker.open(4.0)
    finally:
        broker.close()
