"""When a master takes the place of the leader, keeps it and gives it up; and how a leader keeps the log short."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.replicated import AUTHKEY, Program
from master.committer import Committer
from master.engine import Engine
from master.replica import lead as lead_module
from master.replica.lead import LOST_SECONDS, Lead, Watch, stand_by
from master.replica.log import Holder, Log
from master.replica.program import Member, _identity
from master.replica.store import CantFollow, ReplicaStore
from master.store import LeadLost
from taskyard.broker import Broker
from taskyard.errors import SettingsError, StoreFull, Unreachable
from taskyard.settings import load_settings
from taskyard.urls import parse_nats_url
from tests.harness import wait_until
from tests.nats_member import NewQueue
from tests.replica.copies import Make, leading, put

ROOT = Path(__file__).parents[2]


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> Time:
    made = Time()
    monkeypatch.setattr(lead_module, "monotonic", made)
    return made


# To take the place


def test_a_leader_that_goes_on_saying_so_keeps_its_place(time: Time) -> None:
    watch = Watch("b", False)
    for revision in range(1, 10):
        assert not watch.is_vacant(Holder("a", "x", revision))
        time.now += LOST_SECONDS - 0.1


def test_a_leader_that_is_silent_loses_its_place(time: Time) -> None:
    watch = Watch("b", False)
    assert not watch.is_vacant(Holder("a", "x", 1))
    time.now += LOST_SECONDS - 0.1
    assert not watch.is_vacant(Holder("a", "x", 1))
    time.now += 0.2
    assert watch.is_vacant(Holder("a", "x", 1))


def test_a_leader_that_leaves_in_peace_is_replaced_at_once(time: Time) -> None:
    watch = Watch("b", False)
    assert not watch.is_vacant(Holder("a", "x", 1))
    assert watch.is_vacant(Holder("", "", 2))


@pytest.mark.parametrize("holder", [Holder("", "", 0), Holder("", "", 7), Holder("b", "x", 7)], ids=["nobody", "left", "itself"])
def test_who_has_just_begun_gives_others_time_to_begin_that_may_have_more(time: Time, holder: Holder) -> None:
    watch = Watch("b", False)
    assert not watch.is_vacant(holder)
    time.now += LOST_SECONDS + 0.1
    assert watch.is_vacant(holder)


def test_who_keeps_its_place_has_it_back_at_once_and_nobody_elses(time: Time) -> None:
    assert Watch("b", True).is_vacant(Holder("b", "x", 7))
    assert not Watch("b", True).is_vacant(Holder("a", "x", 7))


def test_a_master_that_is_told_to_stop_while_it_replays_stops(make: Make, queue: NewQueue) -> None:
    leader = leading(make("a"))
    for seq in range(1, 30):
        put(leader, seq)
    stop, looks = threading.Event(), 0

    def well() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            stop.set()

    follower = make("b")
    assert stand_by(queue.log, follower, "b", "x", stop, well) == 0
    assert looks == 2
    assert follower.applied < leader.applied


# To keep it


class Ended:
    """How a master's lead has ended, and who has the place then."""

    def __init__(self, queue: NewQueue, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in {"TASKYARD_URL": queue.url, "TASKYARD_AUTHKEY": AUTHKEY, "MASTER_DATA": str(folder)}.items():
            monkeypatch.setenv(name, value)
        self.stop = threading.Event()
        self._queue = queue
        self._member = Member(load_settings(), parse_nats_url(queue.url), queue.broker, queue.log, self.stop)

    def holder_after(self, store: ReplicaStore, error: BaseException | None) -> str:
        lead = Lead(self._queue.log, self._queue.broker, self._queue.name, "me", self._queue.log.hold("me", "x", 0))
        self._member._end(lead, store, error)
        return self._queue.log.holder().master


@pytest.fixture
def ended(queue: NewQueue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ended:
    return Ended(queue, tmp_path / "member", monkeypatch)


@pytest.mark.parametrize("error", [LeadLost("refused"), Unreachable("silent")], ids=["refused", "unheard"])
def test_a_leader_whose_log_nats_may_have_lost_keeps_its_place(ended: Ended, make: Make, error: Exception) -> None:
    assert ended.holder_after(make("a"), error) == "me"


@pytest.mark.parametrize("error", [None, CantFollow("the disk is full"), StoreFull("full")], ids=["ended", "disk", "full"])
def test_a_leader_that_cannot_go_on_gives_its_place_up(ended: Ended, make: Make, error: Exception | None) -> None:
    assert ended.holder_after(make("a"), error) == ""


def test_one_that_has_more_than_nats_keeps_its_place_though_its_disk_is_full(ended: Ended, make: Make) -> None:
    store = make("a")
    store.is_ahead = True
    assert ended.holder_after(store, StoreFull("full")) == "me"


def test_one_that_is_told_to_stop_gives_its_place_up_whatever_has_ended_it(ended: Ended, make: Make) -> None:
    ended.stop.set()
    assert ended.holder_after(make("a"), LeadLost("refused")) == ""


def test_a_master_that_cannot_begin_to_serve_says_why_and_gives_its_place_up(queue: NewQueue, tmp_path: Path) -> None:
    own = {"TASKYARD_URL": queue.url, "TASKYARD_AUTHKEY": AUTHKEY, "MASTER_HOST": "127.0.0.1", "MASTER_PORT": "0"}
    more = {"PYTHONPATH": str(ROOT), "MASTER_DATA": "data", "MASTER_REPLICAS": "1", "MASTER_ADDRESS_FILE": "missing/address"}
    master = Program("master", tmp_path / "master", own | more)
    master.start()
    assert master.process is not None
    assert master.process.wait(30) == SettingsError.exit_code
    told = master.log.read_text()
    assert "MASTER_ADDRESS_FILE='missing/address' can't be written" in told
    assert "Traceback" not in told
    assert queue.log.holder().master == ""


def test_a_folder_has_a_name_of_its_own_for_good_though_a_crash_has_left_it_empty(tmp_path: Path) -> None:
    (tmp_path / "master").touch()
    name = _identity(tmp_path)
    assert name
    assert _identity(tmp_path) == name
    assert _identity(tmp_path / "other") != name
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["master"]


# To keep the log short


@pytest.fixture
def serving(make: Make, queue: NewQueue, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicaStore]:
    """The store of a leader that cuts the log off whenever there is anything in it."""
    monkeypatch.setattr(lead_module, "SNAPSHOT_SECONDS", 0.1)
    monkeypatch.setattr(lead_module, "MOST_BYTES", 0)
    store = leading(make("a"))
    committer = Committer(Engine(store))
    committer.start()
    lead = Lead(queue.log, queue.broker, queue.name, "a", queue.log.hold("a", "", 0))
    lead.begin()
    (store.path.parent / "snapshot.db.new").mkdir()
    lead.serve("127.0.0.1:1", committer, store)
    yield store
    lead.end()
    committer.stop()
    assert committer.broken is None


def test_a_leader_keeps_the_log_short_and_goes_on_where_a_copy_cannot_be_written(
    serving: ReplicaStore, queue: NewQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    wait_until(lambda: "the log could not be cut off" in capsys.readouterr().out, "it says so")
    assert queue.log.snapshots() == []
    (serving.path.parent / "snapshot.db.new").rmdir()
    wait_until(queue.log.snapshots, "a snapshot is kept")
    wait_until(lambda: not (serving.path.parent / "snapshot.db").exists(), "the copy is removed")


# Streams


@pytest.mark.parametrize(
    ("stream", "what", "value"), [("snapshots", "max_msgs", 5), ("snapshots", "max_bytes", 10**6), ("lead", "max_msg_size", 100)]
)
def test_a_stream_that_would_lose_what_is_written_is_refused(queue: NewQueue, stream: str, what: str, value: int) -> None:
    log = queue.log
    config = log._run(log._js.stream_info(getattr(log._streams, stream))).config
    setattr(config, what, value)
    log._run(log._js.update_stream(config))
    other = Log(Broker(parse_nats_url(queue.url), "master", str), queue.name, 1)
    with pytest.raises(SettingsError, match=f"has {what} {value}, expected is -1: change the stream"):
        other.open(5)
    other.close()
