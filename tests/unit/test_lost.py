"""What a client does when the queue has lost what it had acknowledged, as NATS may: it sends again what it waits for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from master.committer import results_of
from taskyard import reader
from taskyard.codec import encode
from taskyard.errors import NoSuchTask, QueueFull
from taskyard.exchange import Exchange
from taskyard.futures import Block, Key, OpenCalls, TaskFuture
from taskyard.kept import LEAST, Kept
from taskyard.options import Options
from taskyard.outbox import Outbox
from taskyard.series import TaskSeries
from tests.harness import Harness, done, task, wait_until

OPTIONS = Options(name="square")
JOB = "job"


class Losing:
    """A queue whose master may be replaced by one that knows less; its client sees the same queue."""

    url = "nats://in-process"
    connected = True

    def __init__(self, make: Callable[[], Harness]) -> None:
        self.make = make
        self.now = make()
        self.generation = 1
        self.full = False
        self.refused = 0
        """Submits for which there was no room."""
        self.counted = 0
        """How often its client has counted what it has."""
        self.before_counting: Callable[[], None] = lambda: None

    def lose(self) -> None:
        """All that it had."""
        self.now = self.make()
        self.generation += 1

    def submit_series(self, series: Sequence[TaskSeries]) -> int:
        if self.full:
            self.refused += 1
            raise QueueFull("full")
        return self.now.queue.submit_series(series)

    def jobs(self, *args: Any) -> Any:
        self.before_counting()
        self.counted += 1
        return self.now.queue.jobs(*args)

    def has(self, *ids: str) -> bool:
        """Whether these, and no others, are ready."""
        return sorted(one.id for one in self.now.queue.find("ready", None, 100, 0)) == sorted(ids)

    def another(self, *_: Any) -> Losing:
        return self

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return getattr(self.now.queue, name)


def work(harness: Harness, count: int = 100, only: str = "") -> None:
    """Run what is ready."""
    leases = harness.queue.lease("worker", count, 0)
    harness.queue.settle("worker", [done(lease, encode(lease.payload)) for lease in leases if lease.id.startswith(only)])


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Losing]:
    monkeypatch.setattr(reader, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(reader, "KEYED_POLL_SECONDS", 0.02)
    made: list[Harness] = []

    def make() -> Harness:
        made.append(Harness(tmp_path / str(len(made)), "in-process"))
        return made[-1]

    yield Losing(make)
    for harness in made:
        harness.end()


@pytest.fixture
def client(queue: Losing) -> Iterator[Exchange]:
    made = Exchange(queue, JOB, "p")  # type: ignore[arg-type]
    yield made
    made.stop()
    made.abandon()


def add(client: Exchange, *keys: Key) -> list[TaskFuture]:
    """Calls, with keys or without, which the queue has."""
    made = [
        client.add_keyed(OPTIONS, key.encode(), key) if isinstance(key, str) else client.add(OPTIONS, b"%d" % key) for key in keys
    ]
    client.flush(10)
    return made


def values(futures: list[TaskFuture]) -> list[bytes]:
    return [future.result(10) for future in futures]


def test_calls_with_keys_and_without_are_sent_again(client: Exchange, queue: Losing) -> None:
    futures = add(client, 0, 1, "k", 2, "l")
    queue.lose()
    wait_until(lambda: queue.has("p-0", "p-1", "p-2", "k", "l"), "the queue has them again", 10)
    work(queue.now)
    assert values(futures) == [b"0", b"1", b"k", b"2", b"l"]


def test_calls_that_the_queue_has_are_not_sent_again(client: Exchange, queue: Losing) -> None:
    futures = add(client, 0, 1, 2)
    queue.lose()
    queue.now.queue.submit([task("p-1", job=JOB, payload=b"as it was")])
    wait_until(lambda: queue.has("p-0", "p-1", "p-2"), "the queue has them again", 10)
    work(queue.now)
    assert values(futures) == [b"0", b"as it was", b"2"]


def test_calls_for_which_there_is_no_room_yet_wait_and_do_not_fail(
    client: Exchange, queue: Losing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "DOUBT_SECONDS", 0.05)
    queue.now.queue.submit([task("k", job="another's", payload=b"k")])
    futures = add(client, 0, "k", "l")
    queue.full = True
    queue.lose()
    wait_until(lambda: queue.refused > 2, "they are tried", 10)
    assert not any(future.sent or future.done() for future in futures)
    queue.full = False
    wait_until(lambda: queue.has("p-0", "k", "l"), "the queue has them again", 10)
    work(queue.now)
    assert values(futures) == [b"0", b"k", b"l"]


def test_who_else_finds_that_a_call_is_lost_is_told_that_it_is_on_its_way(client: Exchange, queue: Losing) -> None:
    futures = add(client, 0, "k")
    queue.full = True
    for _ in range(2):
        assert client._sender.send_again({0, "k", "unheard of"}) == {0, "k"}
    queue.full = False
    client.flush(10)
    work(queue.now)
    assert values(futures) == [b"0", b"k"]


def test_what_is_lost_a_second_time_is_sent_a_third(client: Exchange, queue: Losing) -> None:
    futures = add(client, 0, "k", 1)
    queue.lose()
    wait_until(lambda: queue.has("p-0", "k", "p-1"), "the queue has them again", 10)
    queue.full = True
    queue.lose()
    wait_until(lambda: queue.refused, "they are tried", 10)
    queue.lose()
    queue.full = False
    wait_until(lambda: queue.has("p-0", "k", "p-1"), "the queue has them again", 10)
    work(queue.now)
    assert values(futures) == [b"0", b"k", b"1"]


def test_what_is_cancelled_before_it_is_sent_again_is_not(client: Exchange, queue: Losing) -> None:
    futures = add(client, 0, 1, "k", "l")
    queue.full = True
    queue.lose()
    wait_until(lambda: queue.refused, "they are tried", 10)
    for future in (futures[0], futures[2]):
        assert future.cancel()
    queue.full = False
    wait_until(lambda: queue.has("p-1", "l"), "the others are there again", 10)


def test_a_call_with_the_key_of_one_that_was_cancelled_does_not_end_as_that_one(client: Exchange, queue: Losing) -> None:
    queue.now.queue.submit([task("k", job="another's", payload=b"k")])
    (first,) = add(client, "k")
    queue.full = True
    with client._calls.lock:
        assert first.cancel()
        again = client.add_keyed(OPTIONS, b"another", "k")
    wait_until(lambda: queue.refused > 1, "there is no room for it", 10)
    assert queue.now.queue.forget("another's") == 1
    queue.full = False
    wait_until(lambda: queue.has("k"), "it is there", 10)
    work(queue.now)
    assert again.result(10) == b"another"


def test_calls_that_are_made_meanwhile_do_not_hide_that_others_are_lost(client: Exchange, queue: Losing) -> None:
    futures = add(client, 0, 1, 2)
    wait_until(lambda: queue.counted, "the client has found its master", 10)

    def add_more() -> None:
        queue.before_counting = lambda: None
        futures.extend(add(client, 3, 4, 5))

    queue.before_counting = add_more
    queue.lose()
    wait_until(lambda: queue.has(*(f"p-{n}" for n in range(6))), "the queue has all", 10)
    work(queue.now)
    assert values(futures) == [b"%d" % n for n in range(6)]


def test_results_that_never_cease_do_not_hide_it_either(client: Exchange, queue: Losing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "DOUBT_SECONDS", 0.5)
    lost, ended = add(client, 0, 1)
    former = queue.now
    monkeypatch.setattr(reader, "POLL_SECONDS", 2.0)  # so that no page is empty
    former.wait_until_one_waits(results_of(JOB))
    queue.lose()
    work(former, only="p-1")
    assert ended.result(10) == b"1"
    number = 1

    def is_done() -> bool:
        nonlocal number
        number += 1
        add(client, number)
        work(queue.now)
        return lost.done()

    wait_until(is_done, "it is sent again", 20)


def test_results_that_are_counted_anew_are_read(client: Exchange, queue: Losing) -> None:
    first = add(client, *range(20))
    work(queue.now)
    assert values(first) == [b"%d" % n for n in range(20)]
    queue.lose()
    later = add(client, 20, 21)
    work(queue.now, 1)
    assert later[0].result(5) == b"20"
    work(queue.now, 1)
    assert later[1].result(5) == b"21"


def test_a_call_that_was_forgotten_fails_where_a_queue_loses_nothing(queue: Losing) -> None:
    queue.url = "manager://in-process"
    client = Exchange(queue, JOB, "p")  # type: ignore[arg-type]
    lost = add(client, 0, "k")
    queue.lose()
    for future in lost:
        with pytest.raises(NoSuchTask, match="the queue has lost its data"):
            future.result(10)
    client.stop()
    client.wait()


# What is kept


@given(st.lists(st.integers(1, 5), max_size=6), st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40)))
def test_what_is_taken_is_what_was_asked_for_and_is_open_and_all_else_is_kept(
    sizes: list[int], asked: set[int], ended: set[int]
) -> None:
    calls, box = OpenCalls("p"), Outbox()
    number = 0
    for size in sizes:
        box.post(Options(name="square"), number, [b"%d" % n for n in range(number, number + size)])
        number += size
    every = set(range(number))
    kept = Kept(calls)
    kept.add(box)
    calls.update(dict.fromkeys(every - ended, Block(calls, 0, number)))
    taken = kept.take(set(asked))
    assert {key for parcel in taken for key in parcel.all_keys()} == asked & (every - ended)
    assert all(list(parcel.all_keys()) == list(map(int, parcel.payloads)) for parcel in taken)
    kept.add(reversed(taken))
    assert {key for parcel in kept.take(set(every)) for key in parcel.all_keys()} == every - ended


def test_what_has_ended_is_not_kept() -> None:
    calls = OpenCalls("p")
    kept = Kept(calls)
    for number in range(10 * LEAST):
        box = Outbox()
        box.post(Options(name="square"), number if number % 2 else f"k-{number}", [b""])
        kept.add(box)
    assert len(kept._numbered) + len(kept._keyed) < LEAST
