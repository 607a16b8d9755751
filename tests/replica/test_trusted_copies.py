"""Copies that can't be trusted are made anew, and kept; what NATS says for a moment is no reason to."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench.nats_servers import shared
from master import sql
from master import store as store_module
from master.replica import log as log_module
from master.replica.entries import Claim, Turn, draw_lead, pack_claim, pack_turn
from master.replica.follower import KEPT_FILES
from master.replica.log import Log
from master.replica.snapshots import Gone
from master.replica.store import ReplicaStore
from master.store import FILE, LeadLost, Store
from taskyard import broker as broker_module
from taskyard.broker import Broker
from taskyard.errors import StoreBroken, StoreFull, Unreachable
from taskyard.urls import NatsUrl
from tests.nats_member import NewQueue
from tests.replica.copies import Make, items, kept_beside, leading, lose_log, put, same, with_snapshot

GARBAGE = b"\xff" * 4096


def damage(path: Path) -> None:
    """All pages that have items."""
    data = path.read_bytes()
    pages = [data[begin : begin + 4096] for begin in range(0, len(data), 4096)]
    path.write_bytes(b"".join(GARBAGE if b"x" * 1000 in page else page for page in pages))


def bounded(most: int = 50) -> Callable[[], None]:
    """A look that ends what would go on for ever."""
    looks = iter(range(most))

    def look() -> None:
        assert next(looks, None) is not None, "it goes on and on"

    return look


# Damage


def test_a_damaged_copy_is_made_anew_when_it_is_opened(make: Make) -> None:
    leader, follower = leading(make("a")), make("b")
    for seq in range(1, 100):
        put(leader, seq, 3000)
    follower.catch_up()
    follower.close()
    damage(follower.path)
    again = make("b")
    again.catch_up()
    assert kept_beside(again)
    assert same(leader, again)


def test_a_damaged_copy_is_made_anew_when_the_damage_shows_only_later(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "CHECKED_BYTES", 0)  # as if it were too large to be read through
    leader, follower = leading(make("a")), make("b")
    for seq in range(1, 100):
        put(leader, seq, 3000)
    follower.catch_up()
    follower.close()
    damage(follower.path)
    for seq in range(1, 100):
        leader.change(sql.REMOVE_ITEM, seq)
    leader.commit()
    again = make("b")
    again.catch_up()
    assert kept_beside(again)
    assert same(leader, again)


def test_a_log_that_does_not_fit_itself_is_told_and_not_replayed_for_ever(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    change = (sql.ADD_ITEM, False, (1, "task", b"x"))
    (message,) = pack_turn(leader._lead, Turn([change], 99), log_module.MESSAGE_BYTES)
    queue.log.append(leader._lead, leader.applied, message)
    with pytest.raises(StoreBroken, match="does not fit itself"):
        make("b").catch_up(bounded())


def test_of_copies_that_were_put_aside_the_latest_stay_and_what_an_operator_has_restored(make: Make) -> None:
    leader, follower = leading(make("a")), make("b")
    put(leader, 1)
    restored = follower.path.with_name(f"{FILE}.20261127-120000")
    restored.touch()
    for _ in range(KEPT_FILES + 2):
        follower.catch_up()
        follower._start_over("of a test", keep=True)
    follower.catch_up()
    assert len([path for path in kept_beside(follower) if path != restored]) == KEPT_FILES
    assert restored.exists()


# Histories


def test_a_copy_of_a_log_that_was_made_anew_is_kept_though_that_begins_later(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "KEPT", 2)
    former = leading(make("a"))
    put(former, 1)
    former.close()
    lose_log(queue)
    later = leading(make("b"))
    for seq in range(2, 10):
        put(later, seq)
    later.save_snapshot()
    again = make("a")
    again.catch_up()
    assert kept_beside(again)
    assert same(later, again)


def test_a_copy_that_is_merely_behind_the_logs_beginning_is_not_kept(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "KEPT", 2)
    leader, follower = leading(make("a")), make("b")
    put(leader, 1)
    follower.catch_up()
    follower.close()
    for seq in range(2, 10):
        put(leader, seq)
    leader.save_snapshot()
    assert queue.log.state().first > follower.applied
    again = make("b")
    again.catch_up()
    assert not kept_beside(again)
    assert same(leader, again)


def test_an_error_within_an_entry_leaves_nothing_of_it(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    leader, follower = leading(make("a")), make("b")
    follower.catch_up()
    put(leader, 1, 3 * log_module.MESSAGE_BYTES)
    put(leader, 2)

    def refuse(_: Store) -> bool:
        raise StoreFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(Store, "commit", refuse)
        with pytest.raises(StoreFull):
            follower.catch_up()
    assert items(follower) == []
    follower.catch_up()
    assert same(leader, follower)


# Moments


def gone(*_: object) -> None:
    raise Gone


def test_a_message_that_a_server_has_not_yet_is_no_beginning_of_the_log(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader, follower = leading(make("a")), make("b")
    put(leader, 1)
    follower.catch_up()
    put(leader, 2)
    with monkeypatch.context() as patch:
        patch.setattr(queue.log, "read", gone)
        with pytest.raises(Unreachable, match="behind"):
            follower.catch_up()
        follower.close()
        again = make("b")
        with pytest.raises(Unreachable, match="behind"):
            again.catch_up()
    again.catch_up()
    assert not kept_beside(again)
    assert same(leader, again)


def test_a_snapshot_whose_place_a_server_has_not_yet_is_asked_for_again(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = with_snapshot(make, monkeypatch, 9)
    follower = make("b")
    with monkeypatch.context() as patch:
        patch.setattr(queue.log, "read", gone)
        with pytest.raises(Unreachable, match="behind"):
            follower.catch_up()
    follower.catch_up()
    assert same(leader, follower)


def test_a_snapshot_that_is_not_listed_is_looked_for_a_few_times(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    leader = leading(make("a"))
    put(leader, 1)
    leader.save_snapshot()
    lead = draw_lead(leader._lead)
    queue.log.claim(lead, leader.applied, pack_claim(lead, Claim("x", sql.VERSION, "0", leader._lead, True)))
    follower = make("b")  # for that claim an earlier snapshot is none
    for _ in range(2):
        with pytest.raises(Unreachable, match="no snapshot"):
            follower.catch_up(bounded())
    with pytest.raises(StoreBroken, match="no snapshot of what was before"):
        follower.catch_up(bounded())


# Snapshots


def test_a_snapshot_of_which_a_part_is_gone_is_not_loaded(make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    leader = with_snapshot(make, monkeypatch, 9, 100_000)
    log = queue.log
    assert log._run(log._js.delete_msg(log._streams.snapshots, 2))
    follower = make("b")
    with pytest.raises(Unreachable, match="replaced while it was read"):
        follower.catch_up(bounded())
    leader.save_snapshot()
    follower.catch_up()
    assert same(leader, follower)


def test_a_snapshot_takes_the_place_of_earlier_ones_alone(make: Make, queue: NewQueue, tmp_path: Path) -> None:
    leader = leading(make("a"))
    (tmp_path / "copy").write_bytes(b"x")
    made = []
    for seq in (1, 2, 3):
        put(leader, seq)
        made.append(queue.log.save_snapshot(leader.applied, leader._lead, tmp_path / "copy"))
    queue.log.begin_with(made[1], anew=False)
    assert queue.log.snapshots() == made[1:]


def test_a_log_that_is_begun_anew_has_no_snapshots_of_the_former_one(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    for seq in range(1, 10):
        put(leader, seq)
    leader.save_snapshot()
    leader.close()
    lose_log(queue)
    again = leading(make("a"))
    assert [(one.place, one.lead) for one in queue.log.snapshots()] == [(again.applied, again._lead)]


def test_a_deleted_stream_of_snapshots_is_made_anew(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    put(leader, 1)
    log = queue.log
    log._run(log._js.delete_stream(log._streams.snapshots))
    assert log.snapshots() == []
    leader.save_snapshot()
    assert [one.place for one in log.snapshots()] == [leader.applied]


def left_over(store: ReplicaStore) -> list[str]:
    return [path.name for path in store.path.parent.iterdir() if "snapshot" in path.name or path.suffix == ".new"]


def test_nothing_of_a_snapshot_that_could_not_be_saved_or_read_stays_on_the_disk(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "KEPT", 2)
    leader = leading(make("a"))
    for seq in range(1, 10):
        put(leader, seq)

    def cut_off(*_: object, **__: object) -> None:
        raise Unreachable("cut off")

    with monkeypatch.context() as patch:
        patch.setattr(queue.log, "save_snapshot", cut_off)
        with pytest.raises(Unreachable):
            leader.save_snapshot()
        assert left_over(leader) == []
        with pytest.raises(Unreachable):
            leader._save_rebased(1, 1)
        assert left_over(leader) == []
    leader.save_snapshot()
    follower = make("b")
    with monkeypatch.context() as patch:
        patch.setattr(queue.log._snapshots.js, "get_msg", cut_off)
        with pytest.raises(Unreachable):
            follower.catch_up()
    assert left_over(leader) == left_over(follower) == []


def test_a_format_is_raised_in_the_copy_alone_until_its_master_leads(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    put(leader, 1)
    leader._db.execute(f"PRAGMA user_version={sql.VERSION - 1}")  # as an older release has left it
    leader.version = sql.VERSION - 1
    seen: list[int] = []

    def keep(_place: int, _lead: int, path: Path, *_: object) -> None:
        with closing(sqlite3.connect(path)) as db:
            seen.append(db.execute("PRAGMA user_version").fetchone()[0])
        raise Unreachable("not now")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("master.store.sql.MIGRATIONS", [*sql.MIGRATIONS[:-1], "CREATE TABLE newer (x);"])
        patch.setattr(queue.log, "save_snapshot", keep)
        with pytest.raises(Unreachable):
            leader._save_rebased(1, 1)
    assert (seen, leader.version) == ([sql.VERSION], sql.VERSION - 1)
    assert leader._db.execute("PRAGMA user_version").fetchone() == (sql.VERSION - 1,)


# To be told to stop, and slow links


class Enough(Exception):
    """It was told to stop."""


@pytest.mark.parametrize("what", ["messages", "snapshot"])
def test_who_replays_a_lot_looks_now_and_then_whether_to_stop(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr(log_module, "KEPT", 2)
    leader, looks = leading(make("a")), iter((None, None))
    for seq in range(1, 13):
        put(leader, seq, 100_000)
    if what == "snapshot":
        leader.save_snapshot()

    def look() -> None:
        if next(looks, Enough) is Enough:
            raise Enough

    follower = make("b")
    with pytest.raises(Enough):
        follower.catch_up(look)
    assert follower.applied < leader.applied
    follower.catch_up()
    assert same(leader, follower)


def test_who_begins_to_lead_does_not_go_on_for_ever_where_others_write(
    make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = bounded()

    def refuse(*_: object) -> int:
        tries()
        raise LeadLost("the log has gone on")

    looks = iter((None, None))

    def look() -> None:
        if next(looks, LeadLost) is LeadLost:
            raise LeadLost("another master leads now")

    store = make("a")
    monkeypatch.setattr(queue.log, "claim", refuse)
    with pytest.raises(LeadLost, match="leads now"):
        store.lead("a", "0", look)


class SlowLink:
    """A way to a server of NATS on which so many bytes a second come back."""

    def __init__(self, port: int, rate: int) -> None:
        self._port, self._rate = port, rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self._listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(("127.0.0.1", self._port))
            for source, target, rate in ((near, far, 0), (far, near, self._rate)):
                threading.Thread(target=self._pass_on, args=(source, target, rate), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, rate: int) -> None:
        with source, target:
            try:
                while data := source.recv(16 * 1024):
                    target.sendall(data)
                    if rate:
                        time.sleep(len(data) / rate)  # this is what it is slow by
            except OSError:
                pass

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def slow(queue: NewQueue, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    """The queue's log, behind a slow link."""
    monkeypatch.setattr(broker_module, "CONNECT_SECONDS", 1.0)
    link = SlowLink(shared(1).all[0].port, 600_000)
    log = Log(Broker(NatsUrl([f"127.0.0.1:{link.port}"], queue.name, "", ""), "master", str), queue.name, 1)
    log.open(5)
    yield log
    log.close()
    link.close()


def test_a_master_behind_a_slow_link_catches_up(make: Make, slow: Log, tmp_path: Path) -> None:
    leader = leading(make("a"))
    for seq in range(1, 21):
        put(leader, seq, 64 * 1024)
    with closing(ReplicaStore(tmp_path / "slow", slow)) as follower:
        for _ in range(30):
            try:
                follower.catch_up()
                break
            except Unreachable:
                continue
        assert follower.applied == leader.applied
