"""Many callers, one commit: who is answered when, and what happens when the disk refuses."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from structlog.testing import capture_logs

from master.committer import DEAF_SECONDS, LEASE, TURN_CALLS, Call, Committer
from master.engine import Clock, Engine
from master.gauges import SAMPLE_SECONDS, Gauges
from master.store import Store
from taskyard.errors import BadRequest, StoreBroken, StoreFull
from taskyard.model import Lease, Sample
from taskyard.series import LeaseSeries, from_outcomes, from_tasks, to_leases
from tests.harness import InThread, done, task, wait_until

NOW = 1_700_000_000.0
MEGABYTE = b"x" * 2**20


class WatchedEngine(Engine):
    """Counts the commits that wrote something; the first of them waits for ``may_commit``."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, clock=Clock(wall=lambda: NOW))  # no sample comes in between
        self.commits = 0
        self.committing = threading.Event()
        self.may_commit = threading.Event()
        self.may_commit.set()

    def commit(self) -> bool:
        if self.store._db.in_transaction:
            self.committing.set()
            assert self.may_commit.wait(10)
        changed = super().commit()
        self.commits += changed
        return changed


@pytest.fixture
def engine(tmp_path: Path) -> WatchedEngine:
    return WatchedEngine(Store(tmp_path))


@pytest.fixture
def committer(engine: WatchedEngine) -> Iterator[Committer]:
    """Not started yet, so that a test decides what the first turn finds."""
    made = Committer(engine)
    yield made
    if not made._thread.is_alive() and not made.ended.is_set():
        made.start()
    made.stop()


def ask(committer: Committer, *runs: Callable[[], Any]) -> list[Call]:
    """Calls that have come in, in this order."""
    calls = [Call(run) for run in runs]
    for call in calls:
        committer._inbox.put(call)
    return calls


def answer_of(call: Call) -> Any:
    assert call.answered.acquire(timeout=10), "the call is not answered"
    return call.value if call.error is None else call.error


def submit(engine: Engine, *ids: str, payload: bytes = b"") -> partial[int]:
    return partial(engine.submit, from_tasks([task(task_id, payload=payload) for task_id in ids]))


def ids_on_disk(folder: Path) -> list[str]:
    with closing(Store(folder)) as store:
        return [task_id for (task_id,) in store.rows("SELECT id FROM task ORDER BY seq")]


# One commit for many


class Talker:
    """Always has something to say."""

    def __init__(self, run: Callable[[], Any] = lambda: None) -> None:
        self._end = os.eventfd(1)
        self._run = run

    def fileno(self) -> int:
        return self._end

    def on_event(self, _: int) -> list[Call]:
        return [Call(self._run)]

    def close(self) -> None:
        os.close(self._end)


def test_however_many_connections_have_something_to_say_other_threads_are_heard_too(committer: Committer) -> None:
    for _ in range(TURN_CALLS + 100):
        committer.poll.add(Talker())
    calls = ask(committer, *(lambda: None for _ in range(20)))
    committer.start()
    assert [answer_of(call) for call in calls] == [None] * 20


def test_calls_that_came_in_together_share_one_commit(committer: Committer, engine: WatchedEngine) -> None:
    calls = ask(committer, *(submit(engine, str(n)) for n in range(20)))
    committer.start()
    assert [answer_of(call) for call in calls] == [1] * 20
    assert engine.commits == 1


class CountedInbox(SimpleQueue[Call | None]):
    """Tells when a call has come in."""

    def __init__(self) -> None:
        self.came = threading.Semaphore(0)

    def put(self, item: Call | None, block: bool = True, timeout: float | None = None) -> None:
        super().put(item)
        self.came.release()


def test_callers_that_come_while_a_commit_is_under_way_share_the_next_one(committer: Committer, engine: WatchedEngine) -> None:
    committer._inbox = inbox = CountedInbox()
    committer.start()
    engine.may_commit.clear()
    committer.tell(submit(engine, "first"))
    assert engine.committing.wait(10)
    callers = [InThread(partial(committer.call, submit(engine, str(n)))) for n in range(20)]
    assert all(inbox.came.acquire(timeout=10) for _ in range(21))
    engine.may_commit.set()
    assert [caller.result() for caller in callers] == [1] * 20
    assert engine.commits == 2


def test_nobody_is_answered_before_the_commit(committer: Committer, engine: WatchedEngine) -> None:
    engine.may_commit.clear()
    calls = ask(committer, submit(engine, "a"), submit(engine, "b"))
    committer.start()
    assert engine.committing.wait(10)
    assert [call.answered.locked() for call in calls] == [True, True]
    engine.may_commit.set()
    assert [answer_of(call) for call in calls] == [1, 1]


def test_what_was_answered_is_on_the_disk_though_the_master_is_killed_now(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    committer.start()
    assert committer.call(submit(engine, "a")) == 1
    # What a killed process leaves behind, without anything that closing would add.
    left = tmp_path / "left"
    left.mkdir()
    for file in (engine.store.path, engine.store.path.with_name("taskyard.db-wal")):
        (left / file.name).write_bytes(file.read_bytes())
    assert ids_on_disk(left) == ["a"]


def test_a_refused_call_costs_the_others_neither_their_answer_nor_a_commit(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    first, wrong, last = ask(committer, submit(engine, "a"), partial(engine.submit, "nonsense"), submit(engine, "b"))
    committer.start()
    assert (answer_of(first), answer_of(last)) == (1, 1)
    assert isinstance(answer_of(wrong), BadRequest)
    assert engine.commits == 1


def test_a_call_that_fails_halfway_changes_nothing_and_does_not_take_the_others_down(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    def fail_halfway() -> None:
        submit(engine, "half")()
        raise ZeroDivisionError

    first, wrong, last = ask(committer, submit(engine, "a"), fail_halfway, submit(engine, "b"))
    committer.start()
    assert (answer_of(first), answer_of(last)) == (1, 1)
    assert isinstance(answer_of(wrong), ZeroDivisionError)
    assert committer.call(engine.stats)["ready"] == 2
    committer.stop()
    assert ids_on_disk(tmp_path) == ["a", "b"]


def test_a_call_that_waits_is_answered_in_the_turn_that_brings_what_it_waits_for(
    committer: Committer, engine: WatchedEngine
) -> None:
    waiting = Call(partial(engine.lease, "connection", "s", 1, None), LEASE, 60)
    committer._inbox.put(waiting)
    committer.start()
    for _ in range(2):  # the second one's turn begins after the waiting call was tried
        committer.call(engine.stats)
    assert waiting.tried
    assert waiting.answered.locked()
    committer.call(submit(engine, "a"))
    assert [lease[0] for lease in answer_of(waiting)] == ["a"]
    committer.call(submit(engine, "b"))
    assert committer.call(engine.stats)["leased"] == 1  # it was answered once and waits no more


@pytest.mark.parametrize("error", [BadRequest("no"), ZeroDivisionError()])
def test_a_call_that_fails_is_told_at_once_however_long_it_would_wait(committer: Committer, error: Exception) -> None:
    def fail() -> None:
        raise error

    failing = Call(fail, LEASE, 60)
    committer._inbox.put(failing)
    committer.start()
    assert answer_of(failing) is error


def test_a_call_that_has_waited_its_time_is_told_that_there_is_nothing(committer: Committer) -> None:
    waiting = Call(lambda: None, LEASE, 0.05)
    committer._inbox.put(waiting)
    committer.start()
    assert answer_of(waiting) is None


def test_what_is_told_without_waiting_is_done_too(committer: Committer, engine: WatchedEngine, tmp_path: Path) -> None:
    committer.tell(submit(engine, "a"))
    committer.start()
    committer.stop()
    assert ids_on_disk(tmp_path) == ["a"]


# Lent while it is written


@pytest.fixture
def waiting(committer: Committer, engine: WatchedEngine) -> Call:
    """A worker's call that waits for a task."""
    call = Call(partial(engine.lease, "connection", "s", 1, None), LEASE, 60)
    committer.add(call)
    committer.start()
    committer.call(lambda: None)
    committer.call(lambda: None)
    assert call.tried
    return call


def test_a_task_is_lent_while_the_disk_writes_it_and_its_submit_answered_afterwards(
    committer: Committer, engine: WatchedEngine, waiting: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.store, "has_room", lambda: True)
    engine.may_commit.clear()
    (submitting,) = ask(committer, submit(engine, "a"))
    committer.poll.wake()
    assert [lease[0] for lease in answer_of(waiting)] == ["a"]
    assert engine.committing.wait(10)
    assert submitting.answered.locked()
    engine.may_commit.set()
    assert answer_of(submitting) == 1


def test_where_the_disk_may_be_full_soon_nothing_is_lent_before_it_is_written(
    committer: Committer, engine: WatchedEngine, waiting: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.store, "has_room", lambda: False)
    engine.may_commit.clear()
    ask(committer, submit(engine, "a"))
    committer.poll.wake()
    assert engine.committing.wait(10)
    assert waiting.answered.locked()
    engine.may_commit.set()
    assert [lease[0] for lease in answer_of(waiting)] == ["a"]


def test_what_was_lent_and_could_not_be_written_then_counts_for_nothing(
    committer: Committer, engine: WatchedEngine, waiting: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.store, "has_room", lambda: True)
    commit = engine.store.commit

    def fail_once() -> bool:
        monkeypatch.setattr(engine.store, "commit", commit)
        raise StoreFull("the disk is full")

    monkeypatch.setattr(engine.store, "commit", fail_once)
    with pytest.raises(StoreFull):
        committer.call(submit(engine, "a"))
    leases = to_leases(list(map(LeaseSeries._make, answer_of(waiting))))
    assert [held.id for held in leases] == ["a"]
    assert committer.call(engine.stats)["leased"] == 0
    assert committer.call(partial(engine.settle, "s", from_outcomes([done(leases[0])]))) == 0
    assert committer.call(submit(engine, "a")) == 1
    (held,) = lease(committer, engine, 2)
    assert held.id == "a"
    assert held.token != leases[0].token


def test_where_the_disk_has_refused_something_nothing_is_lent_early_whatever_room_it_tells_of(
    committer: Committer, engine: WatchedEngine, waiting: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = engine.store.commit

    def fail_once() -> bool:
        monkeypatch.setattr(engine.store, "commit", commit)
        raise StoreFull("the disk is full")

    monkeypatch.setattr(engine.store, "has_room", lambda: True)
    monkeypatch.setattr(committer, "_disk_full", True)
    monkeypatch.setattr(engine.store, "commit", lambda: fail_once() if engine.store._db.in_transaction else commit())
    with pytest.raises(StoreFull):
        committer.call(submit(engine, "a"))
    assert waiting.answered.locked()
    assert committer.call(submit(engine, "b")) == 1
    assert [lease[0] for lease in answer_of(waiting)] == ["b"]


def test_a_store_that_breaks_when_something_is_lent_early_ends_the_queue_however_many_calls_there_are(
    committer: Committer, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        if engine.has_ready():
            raise StoreBroken("the disk is gone")

    monkeypatch.setattr(engine.store, "has_room", lambda: True)
    calls = [Call(broken, LEASE, 60), Call(lambda: None, LEASE, 60)]
    for call in calls:
        committer._inbox.put(call)
    committer.start()
    for _ in range(2):
        committer.call(lambda: None)
    committer.call(lambda: ask(committer, submit(engine, "a"), submit(engine, "b")))
    assert isinstance(answer_of(calls[0]), StoreBroken)
    assert committer.ended.wait(10)
    assert isinstance(committer.broken, StoreBroken)


def test_who_waits_is_not_forgotten_when_it_can_not_be_told_whether_there_is_something_to_lend(
    committer: Committer, engine: WatchedEngine, waiting: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    has_ready = engine.has_ready

    def fail_once() -> bool:
        if has_ready():
            monkeypatch.setattr(engine, "has_ready", has_ready)
            raise MemoryError
        return False

    monkeypatch.setattr(engine.store, "has_room", lambda: True)
    monkeypatch.setattr(engine, "has_ready", fail_once)
    first, second = committer.call(lambda: ask(committer, submit(engine, "a"), submit(engine, "b")))
    assert [lease[0] for lease in answer_of(waiting)] == ["a"]
    assert (answer_of(first), answer_of(second)) == (1, 1)


# A full disk


@pytest.fixture
def full(committer: Committer, engine: WatchedEngine) -> Committer:
    """Two tasks, one of them leased; the file can't grow."""
    committer.start()
    committer.call(submit(engine, "a", "b"))
    committer.call(partial(let_grow, engine, 0))
    return committer


def let_grow(engine: Engine, pages: int) -> None:
    (now,) = engine.store.rows("SELECT * FROM pragma_page_count")[0]
    engine.store._db.execute(f"PRAGMA max_page_count={now + pages}").fetchall()


def lease(committer: Committer, engine: Engine, limit: int) -> list[Lease]:
    lent = committer.call(partial(engine.lease, "connection", "s", limit, None), LEASE) or []
    return to_leases(list(map(LeaseSeries._make, lent)))


def test_a_full_disk_refuses_a_submit_and_takes_nothing_of_it(full: Committer, engine: WatchedEngine) -> None:
    with pytest.raises(StoreFull, match="free some space"):
        full.call(submit(engine, "small", "big", payload=MEGABYTE))
    assert full.call(engine.stats)["ready"] == 2
    assert full.call(partial(engine.find, "ready", None, 10, 0))[-1][0] == "b"


def test_a_call_that_finds_no_room_does_not_take_the_others_down(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    small, big, last = ask(committer, submit(engine, "small"), submit(engine, "big", payload=MEGABYTE), submit(engine, "last"))
    let_grow(engine, 0)
    committer.start()
    assert (answer_of(small), answer_of(last)) == (1, 1)
    assert isinstance(answer_of(big), StoreFull)
    assert committer.call(partial(engine.jobs, "job", 1, 0))[0][2:] == (2, 0, 0, 0)
    committer.stop()
    assert ids_on_disk(tmp_path) == ["small", "last"]


def test_on_a_full_disk_tasks_are_leased_and_settled_once_there_is_room(full: Committer, engine: WatchedEngine) -> None:
    leases = lease(full, engine, 2)
    assert [held.id for held in leases] == ["a", "b"]
    outcomes = from_outcomes([done(held, MEGABYTE) for held in leases])
    with pytest.raises(StoreFull):
        full.call(partial(engine.settle, "s", outcomes))
    stats = full.call(engine.stats)
    assert (stats["leased"], stats["ready"], stats["done"]) == (2, 0, 0)
    full.call(partial(let_grow, engine, 10_000))
    assert full.call(partial(engine.settle, "s", outcomes)) == 2
    assert [row[4] == [MEGABYTE] for row in full.call(partial(engine.results, "job", 0, 10))] == [True, True]


def test_the_log_says_once_that_the_disk_is_full_and_once_that_there_is_room(full: Committer, engine: WatchedEngine) -> None:
    with capture_logs() as lines:
        for _ in range(3):
            with pytest.raises(StoreFull):
                full.call(submit(engine, "big", payload=MEGABYTE))
        full.call(partial(let_grow, engine, 10_000))
        for n in range(3):
            full.call(submit(engine, str(n), payload=MEGABYTE))
    assert [(line["log_level"], line["event"]) for line in lines] == [
        ("error", "nothing can be written"),
        ("warning", "there is room on the disk again"),
    ]
    assert str(engine.store.path) in lines[0]["error"]


def test_a_chore_that_finds_no_room_is_done_later_and_the_queue_goes_on(
    full: Committer, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick, refused = engine.tick, []

    def chore() -> float:
        try:
            submit(engine, "of the chore", payload=MEGABYTE)()
        except StoreFull as error:
            refused.append(error)
            raise
        return tick()

    monkeypatch.setattr(engine, "tick", chore)
    assert [held.id for held in lease(full, engine, 2)] == ["a", "b"]
    wait_until(lambda: refused and full.call(engine.stats)["leased"] == 2, "the chore is refused, and calls are answered")
    full.call(partial(let_grow, engine, 10_000))
    (held,) = wait_until(lambda: lease(full, engine, 2), "the chore is done")
    assert held.id == "of the chore"


def test_space_is_given_back_when_nobody_asks_for_anything_and_not_between_requests(
    committer: Committer, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, between = threading.Event(), []
    monkeypatch.setattr(engine.store, "give_back_space", lambda _: given.set())

    def ask_and_make_chores_due() -> None:
        between.append(given.is_set())
        given.clear()
        engine._next_chores = 0.0

    talker = Talker(ask_and_make_chores_due)
    committer.poll.add(talker)
    committer.start()
    wait_until(lambda: len(between) > 20, "it has asked often", 10)
    committer.call(partial(committer.poll.remove, talker))
    talker.close()
    assert not any(between[1:])  # before the first one nobody had asked
    assert given.wait(10)


# Standstills


def test_after_a_standstill_no_session_is_ended_by_the_caller_who_speaks_first(
    committer: Committer, engine: WatchedEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted: list[float] = []
    ticked: list[bool] = []
    tick = engine.tick
    monkeypatch.setattr(engine, "grant", granted.append)

    def chores() -> float:
        ticked.append(bool(granted))
        return tick()

    monkeypatch.setattr(engine, "tick", chores)
    committer.start()

    def stand_still() -> None:
        ticked.clear()
        committer._due -= 10 * DEAF_SECONDS  # as if the clock had gone on without this process
        engine._next_chores = 0.0

    committer.call(stand_still)
    wait_until(lambda: ticked, "chores are done")
    assert ticked[0], "what was not heard is excused first"


def test_a_broken_store_met_by_a_call_ends_the_queue_for_all(committer: Committer, engine: WatchedEngine) -> None:
    committer.start()

    def break_it() -> None:
        raise StoreBroken("the disk is gone")

    with pytest.raises(StoreBroken, match="the disk is gone"):
        committer.call(break_it)
    assert committer.ended.wait(10)
    assert isinstance(committer.broken, StoreBroken)
    with pytest.raises(StoreBroken, match="the disk is gone"):
        committer.call(engine.stats)


# The end


def test_a_store_that_breaks_ends_the_committer_and_everybody_is_told_why(committer: Committer, engine: WatchedEngine) -> None:
    committer.start()
    committer.call(submit(engine, "a"))
    waiting = InThread(partial(committer.call, lambda: None, ("item", ""), 60))
    with capture_logs() as lines:
        committer.call(lambda: engine.store._db.execute("PRAGMA query_only=1"))
        with pytest.raises(StoreBroken, match="mount it read-write"):
            committer.call(submit(engine, "b"))
        assert committer.ended.wait(10)
    assert isinstance(committer.broken, StoreBroken)
    for late in (partial(committer.call, engine.stats), waiting.result):
        with pytest.raises(StoreBroken, match="mount it read-write"):
            late()
    assert [line["event"] for line in lines] == ["the queue stops"]


def test_stop_answers_all_that_has_come_in(committer: Committer, engine: WatchedEngine, tmp_path: Path) -> None:
    calls = ask(committer, *(submit(engine, str(n)) for n in range(TURN_CALLS + 100)))
    committer.start()
    committer.stop()
    assert [answer_of(call) for call in calls] == [1] * (TURN_CALLS + 100)
    assert ids_on_disk(tmp_path) == [str(n) for n in range(TURN_CALLS + 100)]
    assert engine.commits == 3, "the last is that of the last sample"
    assert committer.broken is None


def samples(folder: Path) -> list[Sample]:
    with closing(Store(folder)) as store:
        return Gauges(store).history(0.0, 0.0, NOW + SAMPLE_SECONDS)


def test_a_stop_writes_what_was_counted_since_the_last_sample(
    committer: Committer, engine: WatchedEngine, tmp_path: Path
) -> None:
    committer.start()
    committer.call(submit(engine, "a", "b"))
    committer.stop()
    assert [(sample.at, sample.ready, sample.submitted) for sample in samples(tmp_path)] == [(NOW + SAMPLE_SECONDS, 2, 2)]


def test_a_stop_on_a_full_disk_loses_no_more_than_what_was_counted_since_the_last_sample(
    committer: Committer, engine: WatchedEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    committer.start()
    committer.call(submit(engine, "a", "b"))

    def refuse(*_: object) -> int:
        raise StoreFull("no room")

    monkeypatch.setattr(engine.store, "change", refuse)
    committer.stop()
    assert committer.broken is None
    assert (ids_on_disk(tmp_path), samples(tmp_path)) == (["a", "b"], [])


def test_after_a_stop_a_call_ends_as_with_a_closed_connection(committer: Committer, engine: WatchedEngine) -> None:
    committer.start()
    committer.stop()
    with pytest.raises(EOFError):  # which ends the connection, so that its client comes back when there is a master again
        committer.call(engine.stats)


def test_a_broken_store_met_by_a_call_that_waits_ends_the_committer_too(committer: Committer) -> None:
    def broken() -> None:
        raise StoreBroken("the disk is gone")

    committer.start()
    with pytest.raises(StoreBroken, match="the disk is gone"):
        committer.call(broken, ("item", ""), 60)
    assert committer.ended.wait(10)
    assert isinstance(committer.broken, StoreBroken)


def test_a_caller_that_has_gone_is_given_nothing_and_waits_no_more(committer: Committer, engine: WatchedEngine) -> None:
    gone = threading.Event()
    committer.start()
    lease = partial(engine.lease, "connection", "s", 1, None)
    waiting = InThread(partial(committer.call, lease, LEASE, 60, gone.is_set))
    gone.set()
    assert committer.call(submit(engine, "a")) == 1
    with pytest.raises(EOFError):
        waiting.result()
    assert committer.call(engine.stats)["ready"] == 1


def test_a_task_that_becomes_ready_by_the_clock_is_lent_at_once(
    committer: Committer, engine: WatchedEngine, waiting: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick = engine.tick

    def chores() -> float:
        monkeypatch.setattr(engine, "tick", tick)
        submit(engine, "due")()
        return 60.0

    monkeypatch.setattr(engine, "tick", chores)
    assert [lease[0] for lease in answer_of(waiting)] == ["due"]
