"""Periodic tasks: each moment is enqueued once, whatever happens to the master, its workers and its clock."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from taskyard.model import Schedule, ScheduleInfo
from tests.harness import LEASE_TIME, Harness, done, schedule

HOUR = 3600.0
DAY = 24 * HOUR
JOB = "schedule-work"


@pytest.fixture
def harness(make: Callable[..., Harness]) -> Harness:
    """A queue at midnight, UTC, of a day without further meaning."""
    made = make()
    set_clock(made, "2024-05-07T00:00")
    return made


def set_clock(harness: Harness, moment: str) -> None:
    def to_moment() -> None:
        harness.time.wall = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()

    harness.committer.call(to_moment)


def announce(harness: Harness, *schedules: Schedule, session: str = "s", seconds: float = 1.0) -> None:
    """A worker's heartbeat, and time enough for the queue to look at it."""
    harness.queue.heartbeat(session, {"tasks": ["work"], "schedules": [tuple(one) for one in schedules]})
    harness.advance(seconds)


def pass_time(harness: Harness, seconds: float, *schedules: Schedule) -> None:
    """Time goes by while a worker is there."""
    while seconds > 0:
        announce(harness, *schedules, seconds=min(seconds, LEASE_TIME / 2))
        seconds -= LEASE_TIME / 2


def moments(harness: Harness, job: str = JOB) -> list[str]:
    """Of the tasks that were enqueued, in their order, by their ids."""
    ids = [found.id for found in harness.queue.find(None, job, 10_000, 0)]
    assert len(set(ids)) == len(ids)
    return [datetime.fromtimestamp(float(one.removeprefix(job + "-")), UTC).strftime("%d %H:%M") for one in ids]


# From announcing to running


def test_a_periodic_task_is_enqueued_at_its_moments_with_its_options(harness: Harness) -> None:
    cron = schedule("*/5 * * * *", payload=b"args", priority=3, retries=2, backoff=4.0, time_limit=60.0, expiry=200.0)
    announce(harness, cron)
    assert moments(harness) == [], "nothing of the past"
    pass_time(harness, 601, cron)
    assert moments(harness) == ["07 00:05", "07 00:10"]
    first = harness.queue.find(None, JOB, 1, 0)[0]
    assert first.id == f"{JOB}-{int(datetime(2024, 5, 7, 0, 5, tzinfo=UTC).timestamp())}"
    (shown,) = harness.queue.show([first.id])
    assert (shown.job, shown.name, shown.payload, shown.priority) == (JOB, "work", b"args", 3)
    assert (shown.retries, shown.backoff, shown.time_limit) == (2, 4.0, 60.0)
    assert shown.begin_by - shown.submitted == 200
    leases = harness.queue.lease("s", 10, 0)
    harness.queue.settle("s", [done(lease) for lease in leases])
    assert harness.queue.results(JOB, 0, 10, 0)[0].id == first.id


def test_a_waiting_worker_is_given_the_task_at_its_moment(harness: Harness) -> None:
    announce(harness, schedule("every 60"))
    harness.advance(58.9)
    assert harness.queue.lease("s", 1, 0) == []
    harness.advance(0.2)
    assert [lease.name for lease in harness.queue.lease("s", 1, 0)] == ["work"]


def test_the_chores_come_back_at_the_next_moment(harness: Harness) -> None:
    announce(harness, schedule("every 2"), seconds=1.9)
    assert 0 < harness.committer.call(harness.engine.tick) <= 0.1 + 1e-6


def test_schedules_are_told_with_their_last_and_next_moment(harness: Harness) -> None:
    start = harness.time.wall
    both = (schedule("0 * * * *", name="hourly", timezone="Europe/Berlin", missed="all"), schedule("every 7.5", name="beat"))
    announce(harness, *both)
    beat = ScheduleInfo("beat", "every 7.5", "UTC", "latest", "schedule-beat", 0.0, start + 7.5)
    hourly = ScheduleInfo("hourly", "0 * * * *", "Europe/Berlin", "all", "schedule-hourly", 0.0, start + HOUR)
    assert sorted(harness.queue.schedules()) == [beat, hourly]
    harness.advance(7)
    assert sorted(harness.queue.schedules()) == [beat._replace(last=start + 7.5, next=start + 15), hourly]
    assert [found.id for found in harness.queue.find(None, "schedule-beat", 10, 0)] == [f"schedule-beat-{start + 7.5}"]


# Crashes, and times without a master


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        ("latest", ["07 00:10", "07 01:20"]),
        ("all", ["07 00:10", *(f"07 {n // 60:02}:{n % 60:02}" for n in range(20, 81, 10))]),
        ("skip", ["07 00:10"]),
    ],
)
def test_moments_without_a_master_are_made_up_for_as_the_schedule_says(
    harness: Harness, missed: str, expected: list[str]
) -> None:
    cron = schedule("*/10 * * * *", missed=missed)
    announce(harness, cron)
    pass_time(harness, 11 * 60, cron)
    set_clock(harness, "2024-05-07T01:25")
    harness.reopen()
    harness.advance(1)
    assert moments(harness) == expected
    harness.reopen()
    harness.advance(1)
    assert moments(harness) == expected, "once"
    pass_time(harness, 10 * 60, cron)
    assert moments(harness) == [*expected, "07 01:30"]


def test_a_moment_that_was_missed_by_seconds_is_not_skipped(harness: Harness) -> None:
    announce(harness, schedule("*/10 * * * *", missed="skip"))
    set_clock(harness, "2024-05-07T00:10:50")
    harness.reopen()
    harness.advance(1)
    assert moments(harness) == ["07 00:10"]


@pytest.mark.parametrize("missed", ["latest", "all", "skip"])
def test_no_moment_is_enqueued_twice_and_none_is_missed_over_crashes(harness: Harness, missed: str) -> None:
    cron = schedule("* * * * *", missed=missed)
    announce(harness, cron)
    for _ in range(25):
        announce(harness, cron, seconds=25)
        told = harness.queue.schedules()
        harness.reopen()
        assert harness.queue.schedules() == told
    harness.advance(0.5)
    assert moments(harness) == [f"07 00:{minute:02}" for minute in range(1, 11)]


def test_years_without_a_master_are_looked_through_step_by_step(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("master.schedules.MOMENTS_LIMIT", 100)
    every, latest = schedule("every 3600", name="all", missed="all"), schedule("every 1", name="latest")
    announce(harness, every, latest)
    harness.committer.call(lambda: harness.time.move(10 * DAY))
    harness.reopen()
    harness.advance(0)
    assert len(moments(harness, "schedule-all")) == 240
    set_clock(harness, "2034-01-01T00:00")
    harness.reopen()
    harness.committer.call(harness.engine.tick)
    assert moments(harness, "schedule-latest")[-1] == "01 00:00"


# The clock


@pytest.mark.parametrize("restart", [False, True])
def test_a_clock_that_is_set_back_repeats_no_moment(harness: Harness, restart: bool) -> None:
    cron = schedule("*/10 * * * *", missed="all")
    announce(harness, cron)
    pass_time(harness, 31 * 60, cron)
    set_clock(harness, "2024-05-07T00:05")
    if restart:
        harness.reopen()
    pass_time(harness, 36 * 60, cron)
    assert moments(harness) == ["07 00:10", "07 00:20", "07 00:30", "07 00:40"]
    assert harness.queue.forget(JOB) == 0  # they are all open; so it was not for their ids alone
    assert [info.last for info in harness.queue.schedules()] == [datetime(2024, 5, 7, 0, 40, tzinfo=UTC).timestamp()]


def test_a_moment_whose_task_is_forgotten_is_not_repeated_by_a_clock_that_is_set_back(harness: Harness) -> None:
    cron = schedule("*/10 * * * *", missed="all")
    announce(harness, cron)
    pass_time(harness, 11 * 60, cron)
    harness.queue.cancel([found.id for found in harness.queue.find(None, JOB, 10, 0)])
    harness.queue.forget(JOB)
    for same in (cron, cron._replace(spec="0,10,20,30,40,50 * * * *")):
        set_clock(harness, "2024-05-07T00:05")
        pass_time(harness, 10 * 60, same)
        assert moments(harness) == []


@pytest.mark.parametrize(
    ("day", "spec", "expected"),
    [
        ("2024-03-30T23:30", "30 2 * * *", ["31 01:00"]),  # 02:30 is not there on this day: at three, in its place
        ("2024-10-26T23:30", "30 2 * * *", ["27 00:30"]),  # 02:30 is there twice: the first one
        ("2024-03-30T23:30", "0 * * * *", [f"31 {hour:02}:00" for hour in range(5)]),
        ("2024-10-26T23:30", "0 * * * *", [f"27 {hour:02}:00" for hour in range(5)]),
    ],
    ids=["daily, spring", "daily, autumn", "hourly, spring", "hourly, autumn"],
)
@pytest.mark.parametrize("crashes", [False, True])
def test_when_clocks_are_changed_no_moment_is_missed_or_repeated(
    harness: Harness, day: str, spec: str, expected: list[str], crashes: bool
) -> None:
    set_clock(harness, day)
    cron = schedule(spec, timezone="Europe/Berlin", missed="all")
    announce(harness, cron)
    for _ in range(10):
        harness.advance(HOUR / 2 - 1)
        if crashes:
            harness.reopen()
        announce(harness, cron)
    assert moments(harness) == expected


# What workers announce


def test_another_rhythm_begins_when_it_is_announced(harness: Harness) -> None:
    announce(harness, schedule("0 12 * * *"))
    set_clock(harness, "2024-05-07T10:05")
    announce(harness, schedule("*/10 * * * *", missed="all"))
    assert moments(harness) == []
    pass_time(harness, 6 * 60, schedule("*/10 * * * *", missed="all"))
    assert moments(harness) == ["07 10:10"]


def test_other_options_hold_from_the_next_moment_on(harness: Harness) -> None:
    announce(harness, schedule("every 10", payload=b"old"), seconds=9)
    announce(harness, schedule("every 10", payload=b"new"), seconds=2)
    (found,) = harness.queue.find(None, JOB, 10, 0)
    assert harness.queue.show([found.id])[0].payload == b"new"


def test_of_different_schedules_of_a_name_that_of_the_worker_which_joined_last_counts(harness: Harness) -> None:
    old, new = schedule("every 100"), schedule("every 200")
    announce(harness, old, session="old")
    announce(harness, new, session="new")
    announce(harness, old, session="old")
    assert [info.spec for info in harness.queue.schedules()] == ["every 200"]
    harness.queue.leave("new")
    announce(harness, old, session="old")
    assert [info.spec for info in harness.queue.schedules()] == ["every 100"]


def test_a_schedule_that_no_worker_announces_any_more_ends_after_a_lease_time(harness: Harness) -> None:
    announce(harness, schedule("every 3600"))
    harness.queue.leave("s")
    announce(harness, session="other")
    announce(harness, session="other", seconds=LEASE_TIME - 2)
    assert len(harness.queue.schedules()) == 1
    announce(harness, session="other", seconds=2)
    assert harness.queue.schedules() == []
    harness.reopen()
    assert harness.queue.schedules() == []


def test_without_any_worker_schedules_go_on(harness: Harness) -> None:
    announce(harness, schedule("*/10 * * * *"))
    harness.queue.leave("s")
    for _ in range(7):
        harness.advance(10 * 60)
        harness.reopen()
    assert moments(harness) == [f"07 {n // 60:02}:{n % 60:02}" for n in range(10, 71, 10)]


def test_the_time_without_any_worker_is_no_time_without_the_announcement(harness: Harness) -> None:
    announce(harness, schedule("every 36000"))
    harness.queue.leave("s")
    announce(harness, session="other", seconds=LEASE_TIME - 1)
    harness.queue.leave("other")
    harness.advance(LEASE_TIME)
    announce(harness, session="another", seconds=LEASE_TIME - 1)
    assert len(harness.queue.schedules()) == 1


def test_a_worker_that_comes_back_in_time_keeps_its_schedules(harness: Harness) -> None:
    cron = schedule("every 3600")
    announce(harness, cron)
    (before,) = harness.queue.schedules()
    harness.queue.leave("s")
    announce(harness, session="other", seconds=LEASE_TIME - 1)
    announce(harness, cron, session="new")
    announce(harness, session="other", seconds=LEASE_TIME - 1)
    announce(harness, cron, session="new")
    assert harness.queue.schedules() == [before]


# When nothing more can be taken


def test_moments_wait_while_the_queue_is_full_and_none_is_lost(
    make: Callable[..., Harness], capsys: pytest.CaptureFixture[str]
) -> None:
    harness = make(bound=2)
    set_clock(harness, "2024-05-07T00:00")
    cron = schedule("* * * * *", missed="all")
    announce(harness, cron)
    pass_time(harness, 5 * 60, cron)
    assert moments(harness) == ["07 00:01", "07 00:02"]
    assert capsys.readouterr().out.count("MASTER_BOUND") == 1
    got: list[str] = []
    for _ in range(5):
        announce(harness, cron)
        leases = harness.queue.lease("s", 10, 0)
        got += [lease.id for lease in leases]
        harness.queue.settle("s", [done(lease) for lease in leases])
    assert len(set(got)) == len(got) == 5
    assert moments(harness) == [f"07 00:{minute:02}" for minute in range(1, 6)]
    capsys.readouterr()
    pass_time(harness, 5 * 60, cron)
    assert capsys.readouterr().out.count("MASTER_BOUND") == 1, "told again, of another time"


def test_moments_on_a_full_disk_are_enqueued_once_there_is_room(harness: Harness, capsys: pytest.CaptureFixture[str]) -> None:
    cron = schedule("every 60", payload=b"x" * 800, missed="all")
    announce(harness, cron)
    store = harness.engine.store

    def let_grow(pages: int) -> None:
        (now,) = store.rows("SELECT * FROM pragma_page_count")[0]
        store._db.execute(f"PRAGMA max_page_count={now + pages}").fetchall()

    harness.committer.call(lambda: let_grow(0))
    harness.committer.call(lambda: harness.time.move(20 * 60))
    until = datetime.now(UTC) + timedelta(seconds=10)
    while not harness.committer._disk_full:
        assert datetime.now(UTC) < until, "the disk is not full"
        harness.queue.stats()
    for _ in range(5):
        harness.committer.call(harness.committer._tick)
        assert moments(harness) == []
    harness.committer.call(lambda: let_grow(10_000))
    harness.advance(1)
    assert moments(harness) == [f"07 00:{minute:02}" for minute in range(1, 21)]
    assert capsys.readouterr().out.count("nothing can be written") == 1
