"""What the queue tells of what it did: samples over time, and counters by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from master.gauges import SAMPLE_SECONDS
from taskyard.errors import BadRequest
from taskyard.histogram import quantile
from taskyard.model import Lease
from taskyard.series import OutcomeSeries
from taskyard.transport import RemoteQueue
from tests.harness import KINDS, LEASE_TIME, Harness, Kind, done, failed, released, task

HOUR = 3600.0


@pytest.fixture(params=KINDS)
def harness(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Harness]:
    kind: Kind = request.param
    made = Harness(tmp_path, kind)
    yield made
    made.end()


def work(harness: Harness) -> None:
    """Of six tasks that wait for 4 s four are done in 2 s each, one fails and is tried again, one is cancelled."""
    harness.queue.submit([task(f"t-{number}", retries=1, backoff=1000) for number in range(6)])
    harness.advance(4)
    leases = harness.queue.lease("s", 6, 0)
    harness.queue.settle_series("s", [OutcomeSeries("t", 0, leases[0].token, "done", [b"value"] * 4, seconds=8.0)])
    harness.queue.settle("s", [failed(leases[4])])
    harness.queue.cancel(["t-5"])


def test_a_sample_tells_what_was_done_in_its_time_and_how_much_there_is_at_its_end(harness: Harness) -> None:
    work(harness)
    harness.advance(SAMPLE_SECONDS)
    (sample,) = harness.queue.history(0, 0)
    assert sample.seconds == SAMPLE_SECONDS
    assert harness.time.wall - SAMPLE_SECONDS < sample.at <= harness.time.wall
    assert sample[2:10] == (0, 0, 1, 0, 6, 4, 0, 1)
    assert (sum(sample.wait), sum(sample.run)) == (6, 4)
    assert 1.7 < quantile(sample.wait, 0.5) < 5.7
    assert 1 < quantile(sample.run, 0.5) < 3.2


def test_samples_come_in_steps_and_behind_a_moment(harness: Harness) -> None:
    for number in range(12):
        harness.queue.submit([task(str(number))])
        harness.advance(SAMPLE_SECONDS)
    all_of = harness.queue.history(0, 0)
    assert [sample.submitted for sample in all_of] == [1] * 12
    assert harness.queue.history(all_of[6].at, 0) == all_of[7:]
    minutes = harness.queue.history(0, 60)
    assert {sample.seconds for sample in minutes} == {60}
    assert all(sample.at % 60 == 0 for sample in minutes)


def test_a_crash_costs_what_was_counted_since_the_last_sample_at_most(harness: Harness) -> None:
    work(harness)
    harness.advance(SAMPLE_SECONDS)
    before = harness.queue.history(0, 0)
    harness.queue.submit([task("lost with the crash")])
    harness.reopen()
    harness.advance(SAMPLE_SECONDS)
    after = harness.queue.history(0, 0)
    assert after[:1] == before
    assert [sample.ready for sample in after[1:]] == [1]


@pytest.mark.parametrize("crash", [False, True], ids=["while it runs", "while it is down"])
def test_a_clock_that_is_set_back_costs_no_count(harness: Harness, crash: bool) -> None:
    work(harness)
    harness.advance(SAMPLE_SECONDS)
    if crash:
        harness.time.wall -= HOUR
        harness.reopen()
    else:
        harness.committer.call(lambda: setattr(harness.time, "wall", harness.time.wall - HOUR))
    harness.queue.submit([task("after it")])
    harness.advance(SAMPLE_SECONDS)
    assert [sample.submitted for sample in harness.queue.history(0, 0)][-1] == 1
    harness.advance(HOUR)
    told = harness.queue.history(0, 0)
    assert (sum(sample.submitted for sample in told), sum(sample.done for sample in told)) == (7, 4)
    assert [sample.at for sample in told] == sorted({sample.at for sample in told})


def test_a_full_disk_costs_samples_and_neither_counts_nor_leases(harness: Harness) -> None:
    harness.queue.submit([task(f"t-{number}") for number in range(60)])
    harness.advance(SAMPLE_SECONDS)
    harness.committer.call(partial(let_grow, harness, 0))
    for _ in range(60):
        assert len(harness.queue.lease("s", 1, 0)) == 1
        harness.advance(SAMPLE_SECONDS)
    written = len(harness.queue.history(0, 0))
    assert written < 60, "there was no room for the others"
    harness.committer.call(partial(let_grow, harness, 1000))
    harness.advance(SAMPLE_SECONDS)
    told = harness.queue.history(0, 0)
    assert len(told) == written + 1
    assert sum(sum(sample.wait) for sample in told) == 60
    assert (told[-1].ready, told[-1].leased) == (0, 60)


def let_grow(harness: Harness, pages: int) -> None:
    """Let the file have so many more pages."""
    (now,) = harness.engine.store.rows("SELECT * FROM pragma_page_count")[0]
    harness.engine.store._db.execute(f"PRAGMA max_page_count={now + pages}").fetchall()


def test_each_name_has_counters(harness: Harness) -> None:
    work(harness)
    harness.queue.submit([task("other", name="rest")])
    kinds = {kind.name: kind for kind in harness.queue.kinds()}
    assert kinds["work"][1:6] == (6, 4, 0, 1, 1)
    assert (kinds["work"].wait_seconds, kinds["work"].run_seconds) == (24.0, 8.0)
    assert kinds["rest"][1:6] == (1, 0, 0, 0, 0)


def test_a_late_result_that_counts_has_a_run_time_and_one_that_does_not_has_none(harness: Harness) -> None:
    harness.queue.submit([task(f"t-{number}") for number in range(4)])
    connection = harness.another()
    (lost, *_) = connection.lease("s", 4, 0)
    harness.close(connection)
    (second,) = harness.another().lease("t", 1, 0)
    late = [OutcomeSeries("t", 0, lost.token, "done", [b"value"] * 4, seconds=12.0)]
    assert harness.queue.settle_series("s", late) == 4
    assert harness.queue.settle_series("s", late) == 0
    assert harness.queue.settle_series("t", [OutcomeSeries("t", 0, second.token, "done", [b"value"], seconds=9.0)]) == 0
    (kind,) = harness.queue.kinds()
    assert (kind.done, sum(kind.run), kind.run_seconds) == (4, 4, 12.0)


# Waits


def waits(harness: Harness) -> tuple[int, float]:
    """How many waits were counted, and their seconds together."""
    (kind,) = harness.queue.kinds()
    return sum(kind.wait), kind.wait_seconds


def leave(harness: Harness, _: RemoteQueue, __: list[Lease]) -> None:
    harness.queue.leave("s")


def be_silent(harness: Harness, _: RemoteQueue, __: list[Lease]) -> None:
    harness.advance(LEASE_TIME)


def be_cut_off(harness: Harness, connection: RemoteQueue, _: list[Lease]) -> None:
    harness.close(connection)


def take_another_connection(harness: Harness, _: RemoteQueue, __: list[Lease]) -> None:
    assert harness.another().lease("s", 1, 0, ["no such name"]) == []


def give_back(harness: Harness, _: RemoteQueue, leases: list[Lease]) -> None:
    harness.queue.settle("s", [released(lease) for lease in leases])


def put_off(harness: Harness, _: RemoteQueue, leases: list[Lease]) -> None:
    harness.queue.settle("s", [released(lease, 5.0) for lease in leases])
    harness.advance(5)


WAYS_BACK = (leave, be_silent, be_cut_off, take_another_connection, give_back, put_off)


@pytest.mark.parametrize("way_back", WAYS_BACK)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "in a series"])
def test_an_attempt_has_one_wait_however_often_its_lease_comes_back(
    harness: Harness, way_back: Callable[[Harness, RemoteQueue, list[Lease]], None], alone: bool
) -> None:
    ids = ("a", "b", "c") if alone else ("t-1", "t-2", "t-3")
    harness.queue.submit([task(task_id, retries=1) for task_id in ids])
    harness.advance(4)
    for _ in range(2):
        connection = harness.another()
        leases = connection.lease("s", 2, 0)
        assert waits(harness) == (2, 8.0)
        way_back(harness, connection, leases)
        assert harness.queue.stats()["leased"] == 0
        harness.advance(7)
    waited = harness.time.wall - harness.queue.show(["t-3" if not alone else "c"])[0].submitted
    leases = [lease for _ in range(3) for lease in harness.queue.lease("t", 3, 0)]
    assert waits(harness) == (3, 8.0 + waited), "that of the third is the one that there was not"
    harness.queue.settle("t", [failed(lease, delay=10) for lease in leases])
    harness.advance(12)
    assert len([lease for _ in range(3) for lease in harness.queue.lease("t", 3, 0)]) == 3
    assert waits(harness) == (6, 8.0 + waited + 3 * 2)


def test_each_attempt_waits_from_when_it_was_due(harness: Harness) -> None:
    harness.queue.submit([task("later", delay=100, retries=1)])
    harness.advance(103)
    harness.queue.settle("s", [failed(harness.queue.lease("s", 1, 0)[0], delay=50)])
    harness.advance(55)
    harness.queue.settle("s", [failed(harness.queue.lease("s", 1, 0)[0])])
    harness.advance(1000)
    harness.queue.retry(["later"])
    assert harness.queue.show(["later"])[0].due == 0
    harness.advance(7)
    harness.queue.settle("s", [done(harness.queue.lease("s", 1, 0)[0])])
    assert waits(harness) == (3, 3.0 + 5.0 + 7.0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_wait_is_known_over_a_crash_and_of_what_is_only_on_the_disk(tmp_path: Path, kind: Kind) -> None:
    harness = Harness(tmp_path, kind, window=1)
    harness.queue.submit([task(name, retries=1, delay=100) for name in ("a", "b", "c", "d", "e", "f")])
    harness.advance(100)
    leases = [harness.queue.lease("s", 1, 0)[0] for _ in range(2)]
    harness.queue.settle("s", [failed(lease, delay=20) for lease in leases])
    harness.advance(21)
    harness.reopen()
    harness.advance(3)
    assert len([harness.queue.lease("s", 1, 0) for _ in range(6)]) == 6
    assert waits(harness) == (6, 2 * (1 + 3) + 4 * (21 + 3))
    harness.end()


@pytest.mark.parametrize(("since", "step"), [(-1, 0), ("0", 0), (0, None), (0, float("nan")), (0, float("inf"))])
def test_moments_and_steps_that_make_no_sense_are_refused(harness: Harness, since: float, step: float) -> None:
    with pytest.raises(BadRequest, match="must be seconds"):
        harness.queue.history(since, step)
