"""Copies of one queue: what a leader has written all have, what it has not written nobody has."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
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
from tests.nats_member import NewQueue, content

Make = Callable[[str], ReplicaStore]


@pytest.fixture
def queue() -> Iterator[NewQueue]:
    made = NewQueue(1)
    yield made
    made.log.delete()
    made.log.close()


@pytest.fixture
def make(queue: NewQueue, tmp_path: Path) -> Iterator[Make]:
    """Makes the store of a folder; all are closed at the end."""
    made: list[ReplicaStore] = []

    def make_one(folder: str) -> ReplicaStore:
        made.append(ReplicaStore(tmp_path / folder, queue.log))
        return made[-1]

    yield make_one
    for store in made:
        store.close()


def leading(store: ReplicaStore) -> ReplicaStore:
    store.lead("test", "0")
    return store


def put(store: Store, seq: int, size: int = 10) -> None:
    """Add an item of so many bytes, and commit."""
    store.change(sql.ADD_ITEM, seq, "task", b"x" * size)
    store.commit()


def items(store: Store) -> list[int]:
    return [seq for seq, _ in store.rows(sql.ITEMS, "task", 0, -1)]


def same(one: ReplicaStore, other: ReplicaStore) -> bool:
    """Whether two stores have the same content; closes them."""
    for store in (one, other):
        store.close()
    return content(one.path) == content(other.path)


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
    queue.log.append(leader.applied, first)
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
    queue.log.append(leader.applied, message)  # as the leader is about to: it was heard, and the answer was not
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
    leader.change(sql.REMOVE_ITEM, 1)
    leader.commit()
    put(leader, 2)
    again = make("b")
    again.catch_up()
    assert same(leader, again)


def test_a_copy_with_another_history_is_made_anew(make: Make, queue: NewQueue) -> None:
    former, later = leading(make("a")), leading(make("b"))
    former.close()
    with closing(sqlite3.connect(former.path)) as db:  # as if it had written where the later one's claim stands
        db.execute("UPDATE replica SET applied = 2")
        db.commit()
    put(later, 1)
    again = make("a")
    again.catch_up()
    assert same(again, later)


# Snapshots


def test_a_follower_begins_with_a_snapshot_where_the_log_begins_later(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "KEPT", 2)
    leader = leading(make("a"))
    for seq in range(1, 11):
        put(leader, seq, 100_000)
    leader.save_snapshot()
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
    assert queue.log.snapshots() == [leader.applied]


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
    assert [path.name for path in later.path.parent.glob(f"{FILE}.*") if "wal" not in path.name] != []  # it lies beside


# Refusals


def test_a_release_that_is_too_old_for_the_log_says_so(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    queue.log.append(leader.applied, pack_claim(Claim("new", sql.VERSION + 1, "99.0", False)))
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
        broker.open(1.0)
    finally:
        broker.close()
