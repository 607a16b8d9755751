"""What the queue tells of tasks, of jobs and of what is running: each test's name is the promise."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from taskyard.model import Details, JobInfo, Running
from tests.harness import Harness, done, failed, task


def infos(harness: Harness, job: str | None = None) -> list[JobInfo]:
    return harness.queue.jobs(job, 100, 0)


# Finding and showing


def test_find_tells_the_tasks_of_all_states_oldest_first(harness: Harness) -> None:
    harness.queue.submit([task("leased", priority=9), task("done", priority=8), task("ready"), task("other", job="another job")])
    leases = {lease.id: lease for lease in harness.queue.lease("s", 2, 0)}
    harness.queue.settle("s", [done(leases["done"])])
    harness.queue.submit([task("delayed", delay=60)])
    told = [(found.id, found.state) for found in harness.queue.find(None, None, 10, 0)]
    assert told == [("leased", "leased"), ("done", "done"), ("ready", "ready"), ("other", "ready"), ("delayed", "delayed")]
    assert [found.id for found in harness.queue.find(None, "job", 2, 1)] == ["done", "ready"]
    assert harness.queue.find(None, "no such job", 10, 0) == []


def test_tasks_are_found_by_their_names_and_by_part_of_their_ids(harness: Harness) -> None:
    harness.queue.submit([task(f"night-{number}", name="add") for number in range(25)])
    harness.queue.submit([task(f"day-1-{number}", name="mul", job="day") for number in range(3)])
    harness.queue.submit([task("night-x", name="mul"), task("17", name="mul"), task("late-night", name="add", delay=60)])
    harness.queue.settle("s", [done(lease) for lease in harness.queue.lease("s", 3, 0)])
    harness.queue.lease("s", 3, 0)

    def find(state: str | None, name: str | None, text: str | None, limit: int = 100, after: int = 0) -> list[str]:
        return [found.id for found in harness.queue.find(state, None, limit, after, name, text)]

    assert find(None, "mul", None) == ["day-1-0", "day-1-1", "day-1-2", "night-x", "17"]
    assert find(None, None, "night") == [*(f"night-{number}" for number in range(25)), "night-x", "late-night"]
    assert find(None, None, "night-1") == ["night-1", *(f"night-{number}" for number in range(10, 20))]
    assert find(None, None, "t-17") == ["night-17"]
    assert find(None, None, "17") == ["night-17", "17"]
    assert find(None, None, "day-1") == find(None, None, "-1-") == ["day-1-0", "day-1-1", "day-1-2"]
    assert find(None, None, "t-x") == ["night-x"]
    assert find(None, "add", "late") == ["late-night"]
    assert find(None, None, "Night") == find(None, None, "night-1-") == find(None, "add", "day") == find(None, None, "%") == []
    assert find("done", "add", "2") == find("done", None, "-2") == ["night-2"]
    assert find("leased", "add", "-4") == ["night-4"]
    assert find("leased", "mul", None) == find("leased", None, "x") == []
    assert find("ready", None, "2")[:3] == ["night-12", "night-20", "night-21"]
    assert find(None, None, "night-1", 3, 2) == ["night-11", "night-12", "night-13"]
    assert [found.id for found in harness.queue.find(None, "day", 9, 0, "mul", "2")] == ["day-1-2"]


def test_pages_of_what_is_found_follow_each_other_and_what_is_skipped_is_not_read(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    for part in range(4):  # in series and alone, by turns
        harness.queue.submit([task(f"t-{part}{number:03}-x-{number}") for number in range(20)])
        harness.queue.submit([task(f"s-{part}-{number}") for number in range(100)])
    harness.queue.submit([task(f"later-{number}", delay=60) for number in range(50)])
    for _ in range(2):
        harness.queue.settle("s", [done(lease) for lease in harness.queue.lease("s", 90, 0)[::3]])
    for state in (None, "ready", "leased", "delayed", "done", "failed"):
        found = harness.queue.find(state, None, 1000, 0)
        assert len(found) == {None: 530, "ready": 300, "leased": 120, "delayed": 50, "done": 60, "failed": 0}[state]
        for after in range(0, len(found) + 5, 7):
            assert harness.queue.find(state, None, 9, after) == found[after : after + 9], (state, after)
    each, read = harness.engine.store.each, []

    def noted(*args: Any) -> Iterator[tuple[Any, ...]]:
        for row in each(*args):
            read.append(row)
            yield row

    monkeypatch.setattr(harness.engine.store, "each", noted)
    assert [one.id for one in harness.queue.find(None, None, 2, 527)] == ["later-47", "later-48"]
    assert len(read) <= 3
    assert harness.queue.find(None, None, 10, 2**63 - 1) == []


def test_find_tells_when_a_task_was_submitted(harness: Harness) -> None:
    harness.queue.submit([task("a")])
    submitted = harness.time.wall
    harness.advance(60)
    harness.queue.submit([task("a"), task("b")])
    assert [found.submitted for found in harness.queue.find("ready", None, 10, 0)] == [submitted, submitted + 60]


def test_show_tells_all_that_is_known_of_a_task(harness: Harness) -> None:
    start = harness.time.wall
    harness.queue.submit([task("a", payload=b"1+1", priority=3, retries=2, backoff=5, time_limit=7, result_ttl=100, expiry=50)])
    begin_by = start + 50
    ready = Details(
        "a", "job", "work", "ready", 3, 0, "", start, 0.0, begin_by, 0.0, 0.0, 2, 5.0, 7.0, b"1+1", b"", ""
    )  # fmt: skip
    assert harness.queue.show(["a"]) == [ready]
    assert harness.queue.show(["a"], False) == [ready._replace(payload=b"")]
    (lease,) = harness.queue.lease("s", 1, 0)
    assert harness.queue.show(["a"]) == [ready._replace(state="leased", session="s")]
    harness.advance(10)
    harness.queue.settle("s", [failed(lease, "exit: 3", delay=20)])
    delayed = ready._replace(state="delayed", attempts=1, cause="exit: 3", due=start + 30)
    assert harness.queue.show(["a"]) == [delayed]
    harness.advance(25)
    harness.queue.settle("s", [done(harness.queue.lease("s", 1, 0)[0], b"2")])
    (ended,) = harness.queue.show(["a"])
    assert (ended.state, ended.attempts, ended.payload, ended.value) == ("done", 2, b"", b"2")
    assert (ended.ended, ended.forgotten) == (start + 35, start + 135)


def test_show_tells_of_the_tasks_asked_for_in_their_order_and_leaves_out_what_is_not_known(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b"), task("c")])
    assert [shown.id for shown in harness.queue.show(["c", "unknown", "a"])] == ["c", "a"]
    assert harness.queue.show([]) == []


def test_what_show_tells_is_bounded_by_its_size(make: Callable[..., Harness], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("master.views.REPLY_BYTES", 100)
    queue = make().queue
    queue.submit([task("a", payload=b"x" * 60), task("b", payload=b"x" * 30), task("c", payload=b"x" * 30), task("d")])
    assert [shown.id for shown in queue.show(["a", "b", "c", "d"])] == ["a", "b"]
    queue.submit([task("big", payload=b"x" * 200)])
    assert [shown.id for shown in queue.show(["big", "a"])] == ["big"]


# Running


def test_running_tells_leased_tasks_with_their_progress_the_longest_first(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b"), task("other", job="another job"), task("ready", name="else")])
    harness.queue.lease("s", 1, 0)
    harness.advance(10)
    harness.queue.lease("t", 2, 0, ["work"])
    harness.queue.heartbeat("t", {"progress": {"other": (3, 4.5, "three of them"), "a": (9, 9, "not its own")}})
    harness.advance(2)
    expected = [
        Running("a", "job", "work", "s", 1, 12.0, 0.0, 0.0, ""),
        Running("b", "job", "work", "t", 1, 2.0, 0.0, 0.0, ""),
        Running("other", "another job", "work", "t", 1, 2.0, 3.0, 4.5, "three of them"),
    ]
    assert harness.queue.running(None, 10) == expected
    assert harness.queue.running("job", 10) == expected[:2]
    assert harness.queue.running(None, 1) == expected[:1]
    harness.queue.leave("s")
    harness.queue.lease("t", 1, 0, ["work"])
    assert [(running.id, running.done) for running in harness.queue.running("job", 10)] == [("b", 0), ("a", 0)]


def test_progress_is_kept_until_it_is_told_anew_and_ends_with_the_lease(harness: Harness) -> None:
    harness.queue.submit([task("a", retries=5, backoff=0)])
    (lease,) = harness.queue.lease("s", 1, 0)

    def told() -> list[tuple[int, float, str]]:
        return [(running.attempt, running.done, running.note) for running in harness.queue.running(None, 10)]

    harness.queue.heartbeat("s", {"progress": {"a": (1, 2, "first")}})
    harness.queue.heartbeat("s", {})
    assert told() == [(1, 1.0, "first")]
    harness.queue.heartbeat("s", {"progress": {"a": (2, 2, "last")}})
    assert told() == [(1, 2.0, "last")]
    harness.queue.settle("s", [failed(lease)])
    assert told() == []
    harness.advance(1)
    harness.queue.lease("s", 1, 0)
    assert told() == [(2, 0.0, "")]


# Jobs


def test_a_job_is_counted_by_the_states_of_its_tasks(harness: Harness) -> None:
    created = harness.time.wall
    harness.queue.submit([task(name, retries=0) for name in "abcdef"])
    a, b, c, _ = harness.queue.lease("s", 4, 0)
    harness.queue.settle("s", [done(a), done(b), failed(c)])
    harness.queue.cancel(["f"])
    (info,) = infos(harness)
    assert (info, info.open) == (JobInfo("job", created, 6, 2, 1, 1), 2)
    harness.queue.submit([task("a"), task("g")])
    harness.queue.retry(["c"])
    assert infos(harness, "job") == [JobInfo("job", created, 7, 2, 0, 1)]


def test_jobs_are_told_newest_first_in_pages(harness: Harness) -> None:
    for job in ("one", "two", "three"):
        harness.queue.submit([task(job, job=job)])
    harness.queue.submit([task("again", job="one")])
    assert [info.job for info in infos(harness)] == ["three", "two", "one"]
    assert [info.job for info in harness.queue.jobs(None, 1, 1)] == ["two"]
    assert [(info.job, info.tasks) for info in infos(harness, "one")] == [("one", 2)]
    assert infos(harness, "none") == []


def test_jobs_that_were_submitted_together_are_counted_apart(harness: Harness) -> None:
    harness.queue.submit([task("a", job="one"), task("b", job="two"), task("c", job="one")])
    harness.queue.settle("s", [done(lease) for lease in harness.queue.lease("s", 2, 0)])
    assert [info[0:1] + info[2:] for info in infos(harness)] == [("two", 1, 1, 0, 0), ("one", 2, 1, 0, 0)]


@pytest.mark.parametrize("how", ["forgotten", "old"])
def test_a_job_is_gone_with_the_last_of_its_tasks(harness: Harness, how: str) -> None:
    harness.queue.submit([task("a", result_ttl=5), task("b", result_ttl=5), task("other", job="another job")])
    a, b, _ = harness.queue.lease("s", 10, 0)

    def delete() -> None:
        if how == "forgotten":
            harness.queue.forget("job")
        else:
            harness.advance(6)

    harness.queue.settle("s", [done(a)])
    delete()
    (left,) = infos(harness, "job")
    assert (left.tasks, left.done, left.open) == (1, 0, 1)
    harness.queue.settle("s", [done(b)])
    delete()
    assert [info.job for info in infos(harness)] == ["another job"]


def test_jobs_survive_a_crash_as_their_tasks_do(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b"), task("x", job="another job")])
    harness.queue.settle("s", [done(harness.queue.lease("s", 1, 0)[0])])
    before = infos(harness)
    harness.reopen()
    assert infos(harness) == before
    assert [info.done for info in before] == [0, 1]
