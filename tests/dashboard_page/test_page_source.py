"""The one poller behind all pages, in front of a real master."""

from __future__ import annotations

import asyncio
import pickle
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from dashboard.page.jobs import time_to_go
from dashboard.page.values import TaskText
from dashboard.source import IDLE_PERIOD, MOST_RATES, Rates, Snapshot, Source
from taskyard.codec import encode
from taskyard.errors import Unreachable
from taskyard.model import JobInfo
from tests.harness import Harness, done, failed, task, wait_until


@pytest.fixture
def source(harness: Harness) -> Iterator[Source]:
    made = Source(harness.queue)
    made.start()
    yield made
    made.close()


def once(source: Source, condition: Callable[[Snapshot], object]) -> Snapshot:
    """The first snapshot of which this is true."""
    found: list[Snapshot] = []

    def look() -> bool:
        found[:] = [source.now()]
        return bool(condition(found[0]))

    wait_until(look, "the queue was seen so")
    return found[0]


def test_a_snapshot_has_what_the_queue_tells(harness: Harness, source: Source) -> None:
    harness.queue.heartbeat("worker", {"host": "h", "slots": 2, "busy": 1, "tasks": ["work"]})
    harness.queue.submit([task("a"), task("b")])
    harness.queue.lease("worker", 1, 0)
    # What it consists of is asked for one after the other: of that one look the jobs may be older.
    snapshot = once(source, lambda now: now.stats.get("leased") and now.jobs)
    assert [(worker.host, worker.slots) for worker in snapshot.workers] == [("h", 2)]
    assert [one.id for one in snapshot.running] == ["a"]
    assert [(job.job, job.tasks, job.open) for job in snapshot.jobs] == [("job", 2, 2)]
    assert snapshot.stats["ready"] == 1
    assert source.lost_since == 0


def test_each_sample_of_the_history_is_kept_once(harness: Harness, source: Source) -> None:
    harness.time.wall += wait_until(lambda: source.now().at, "the first answer") - harness.time.wall

    def seen(count: int) -> bool:
        return sum(sample.submitted for sample in source.now().samples) >= count

    for number in range(3):
        harness.queue.submit([task(f"t-{number}")])
        harness.advance(10)
        wait_until(partial(seen, number + 1), "the sample was seen")
    samples = source.now().samples
    assert sum(sample.submitted for sample in samples) == 3
    assert len({sample.at for sample in samples}) == len(samples)


def test_ends_a_second_come_from_what_ended_and_not_from_what_is_kept(harness: Harness, source: Source) -> None:
    wait_until(lambda: source.now().at, "the first answer")
    harness.queue.submit([task(f"t-{number}") for number in range(40)])
    leases = harness.queue.lease("worker", 40, 0)
    harness.queue.settle("worker", [*map(done, leases[:30]), *(failed(one)._replace(final=True) for one in leases[30:])])
    seen = once(source, lambda now: now.failed)
    assert seen.done == pytest.approx(3 * seen.failed)
    harness.queue.forget("job")
    assert once(source, lambda now: not now.stats["done"]).done > 0


def test_pages_that_ask_the_same_at_the_same_time_ask_the_queue_once(harness: Harness, source: Source) -> None:
    harness.queue.submit([task("a")])

    async def ask() -> list[object]:
        answers: list[object] = list(await asyncio.gather(*(source.tasks(None, "job", "", "", 50, 0) for _ in range(20))))
        return answers

    answers = asyncio.run(ask())
    assert all(answer is answers[0] for answer in answers)


def test_a_change_is_seen_by_whoever_asks_next(harness: Harness, source: Source) -> None:
    harness.queue.submit([task("a")])

    async def change() -> list[str]:
        states: list[str] = []
        for _ in range(2):
            found = await source.task("a")
            assert found is not None
            states.append(found.details.state)
            await source.act(lambda queue: queue.cancel(["a"]))
        return states

    assert asyncio.run(change()) == ["ready", "cancelled"]


def test_who_stops_waiting_takes_the_answer_from_nobody(harness: Harness, source: Source) -> None:
    harness.queue.submit([task("a")])

    async def ask() -> str:
        hasty = asyncio.ensure_future(source.task("a"))
        patient = asyncio.ensure_future(source.task("a"))
        await asyncio.sleep(0)
        hasty.cancel()
        found = await patient
        assert found is not None
        return found.details.id

    assert asyncio.run(ask()) == "a"


def test_what_is_kept_of_a_task_is_a_few_words_however_big_its_payload_and_value_are(harness: Harness, source: Source) -> None:
    big = encode(((b"x" * 3_000_000,), {}))
    harness.queue.submit([task("a", payload=big)])
    (lease,) = harness.queue.lease("worker", 1, 0)
    waiting = asyncio.run(source.task("a"))
    harness.queue.settle("worker", [done(lease, big)])
    wait_until(lambda: source.now().stats.get("done"), "it has ended")
    ended = asyncio.run(anew(source, "a"))
    assert waiting is not None
    assert waiting.call == "3.0 MB, not shown: too long"
    assert ended.result.startswith("3.0 MB, not shown: too long.")
    assert len(pickle.dumps([waiting, ended])) < 5000


async def anew(source: Source, name: str) -> TaskText:
    await source.act(lambda queue: queue.stats())
    told = await source.task(name)
    assert told is not None
    return told


def test_a_queue_that_was_not_asked_while_nobody_looked_is_not_told_as_lost(source: Source) -> None:
    wait_until(lambda: source.now().at, "the first answer")
    source._looked = source._answered = time.monotonic() - IDLE_PERIOD - 1
    assert source.now().at
    assert source.lost_since == 0


def test_a_queue_that_ends_is_lost_since_its_last_word_and_found_when_it_is_back(harness: Harness, source: Source) -> None:
    told = wait_until(lambda: source.now().at, "the first answer")
    assert harness.server is not None
    address = harness.server.listener.address
    harness.server.close()
    harness._cut_off()
    since = wait_until(lambda: source.lost_since, "it is lost", 20)
    assert since >= told
    assert wait_until(lambda: source.why, "it says why", 20)
    with pytest.raises(Unreachable):
        asyncio.run(source.task("a"))
    harness.reopen()
    assert harness.server.listener.address == address
    wait_until(lambda: not source.lost_since, "it is found again", 20)
    assert source.why == ""


def test_a_closed_source_answers_nobody(harness: Harness) -> None:
    source = Source(harness.queue)
    source.start()
    source.close()
    with pytest.raises(Unreachable):
        asyncio.run(source.task("a"))


def job(ended: int, tasks: int = 100, name: str = "job") -> JobInfo:
    return JobInfo(name, 1.0, tasks, ended, 0, 0)


def test_a_jobs_rate_is_what_ended_between_two_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr("dashboard.source.time.monotonic", lambda: now[0])
    rates = Rates()
    rates.note([job(10)])
    assert rates.of("job") == 0
    for ended in (15, 20, 25):
        now[0] += 1
        rates.note([job(ended)])
    assert rates.of("job") == 5
    now[0] += 1
    rates.note([job(3)])
    assert rates.of("job") == 0, "it was tried again, and counts from there"


def test_rates_are_kept_of_so_many_jobs_only() -> None:
    rates = Rates()
    rates.note([job(1, name=f"job-{number}") for number in range(MOST_RATES + 10)])
    assert len(rates._seen) == MOST_RATES


@pytest.mark.parametrize(
    ("ended", "rate", "paused", "told"),
    [
        (100, 5.0, False, "through"),
        (50, 5.0, False, "10 s to go, 5 a second"),
        (50, 0.01, False, "1 h 23 min to go, 0.01 a second"),
        (50, 0.0, False, "50 open"),
        (50, 5.0, True, "waits: the queue is paused"),
    ],
)
def test_time_to_go_is_told_where_it_can_be_known(ended: int, rate: float, paused: bool, told: str) -> None:
    assert time_to_go(job(ended), rate, paused) == told
