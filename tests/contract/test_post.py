"""A call that is sent by one thread and answered in another, so that nobody has to be woken to send it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path

import pytest

from taskyard import Cluster, wire
from taskyard.errors import QueueFull, Unreachable
from taskyard.series import from_outcomes, from_tasks
from taskyard.transport import SHORT_BYTES, RemoteQueue
from tests.harness import AUTHKEY, Harness, InThread, done, task, wait_until
from worker.links import Settler


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Harness]:
    harness = Harness(tmp_path, "manager", bound=3)
    harness.queue.connect()
    yield harness
    harness.end()


def post(queue: RemoteQueue, *ids: str, payload: bytes = b"") -> bytes | None:
    return queue.post("submit", list(map(tuple, from_tasks([task(task_id, payload=payload) for task_id in ids]))))


def test_a_posted_call_is_made_once_and_answered_in_whatever_thread(manager: Harness) -> None:
    message = post(manager.queue, "a", "b")
    assert message is not None
    assert InThread(lambda: manager.queue.answer(message)).result() == 2
    assert manager.queue.stats()["ready"] == 2


def test_until_it_is_answered_other_calls_wait_and_nothing_else_is_posted(manager: Harness) -> None:
    message = post(manager.queue, "a")
    assert message is not None
    assert post(manager.queue, "b") is None
    waiting = InThread(manager.queue.stats)
    assert manager.queue.answer(message) == 1
    assert waiting.result()["ready"] == 1


def test_what_it_raises_comes_with_its_answer(manager: Harness) -> None:
    message = post(manager.queue, "a", "b", "c", "d")
    assert message is not None
    with pytest.raises(QueueFull):
        manager.queue.answer(message)
    assert manager.queue.stats()["ready"] == 0


def test_a_posted_call_that_is_cut_off_is_made_again(manager: Harness) -> None:
    message = post(manager.queue, "a")
    assert message is not None
    assert manager.queue._conn is not None
    wire.shut_down(manager.queue._conn)
    assert manager.queue.answer(message) in (0, 1)  # 0: the first had arrived
    assert [found.id for found in manager.queue.find("ready", None, 9, 0)] == ["a"]
    assert manager.queue.generation == 2


def test_a_posted_call_outlives_the_master_that_it_was_sent_to(manager: Harness) -> None:
    message = post(manager.queue, "a")
    assert message is not None
    manager.reopen()
    assert manager.queue.answer(message) in (0, 1)
    assert [found.id for found in manager.queue.find("ready", None, 9, 0)] == ["a"]


def test_nothing_is_posted_where_that_would_have_to_wait(manager: Harness) -> None:
    assert post(manager.another(), "a") is None, "there is no connection yet"
    assert post(manager.queue, "a", payload=b"x" * SHORT_BYTES) is None, "it is long"
    assert manager.queue.stats()["ready"] == 0


def test_on_a_connection_that_the_master_has_closed_nothing_is_posted(manager: Harness) -> None:
    assert manager.queue._conn is not None
    assert manager.server is not None
    wire.shut_down(manager.queue._conn)
    manager.server.wait_until_closed()
    assert post(manager.queue, "a") is None
    assert manager.queue.stats()["ready"] == 0


def test_closing_ends_the_wait_for_an_answer(manager: Harness) -> None:
    queue = manager.another()
    queue.connect()
    message = queue.post("lease", "session", 1, 30.0, None)
    assert message is not None
    waiting = InThread(lambda: queue.answer(message))
    manager.wait_until_one_waits(("lease", ""))
    queue.close()
    with pytest.raises(Unreachable):
        waiting.result()


def test_a_few_outcomes_are_sent_by_the_thread_that_has_them(manager: Harness) -> None:
    manager.queue.submit([task("a"), task("b")])
    first, second = manager.queue.lease("s", 2, 0)
    settling = manager.another()
    settling.connect()
    settler = Settler(settling, "s")
    settler.add(from_outcomes([done(first)]))
    settler.add(from_outcomes([done(second)]))  # waits for the thread, which has the first one's answer to take
    wait_until(lambda: manager.queue.stats()["done"] == 1, "the first is settled", 10)
    thread = InThread(settler.run)
    assert settler.stop(10) == 0
    thread.result()
    assert [result.id for result in manager.queue.results("job", 0, 9, 0)] == ["a", "b"]


def test_a_submit_waits_for_nothing_that_the_master_does(manager: Harness) -> None:
    with Cluster(manager.queue.url, AUTHKEY) as cluster:
        cluster.submit("work", 1).cancel()
        goes_on = threading.Event()
        manager.committer.tell(goes_on.wait)  # as when the disk hangs
        futures: list[Future[None]] = [cluster.submit("work", number) for number in range(3)]
        goes_on.set()
        wait_until(lambda: manager.queue.stats()["ready"] == 3, "they are taken", 10)
        assert [future.cancel() for future in futures] == [True] * 3


class Interrupted(KeyboardInterrupt):
    """Ctrl-C at one certain place."""


def test_a_submit_that_is_interrupted_leaves_its_number_to_nobody_else(manager: Harness, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise Interrupted

    with Cluster(manager.queue.url, AUTHKEY) as cluster:
        with monkeypatch.context() as patch:
            patch.setattr(cluster._exchange._sender, "_post_now", interrupt)
            wait_until(lambda: cluster._exchange._sender._idle, "the sender waits", 10)
            with pytest.raises(Interrupted):
                cluster.submit("work", "first")
        second: Future[None] = cluster.submit("work", "second")
        wait_until(lambda: manager.queue.stats()["ready"] == 2, "both are taken", 10)
        payloads = {one.id: one.payload for one in manager.queue.show([f"{cluster.job_id}-{n}" for n in range(2)])}
        assert b"second" in payloads[second.task_id]  # type: ignore[attr-defined]
        assert len(payloads) == 2
        cluster.shutdown(cancel_futures=True)


def test_a_post_that_is_interrupted_holds_nobody_up_and_its_answer_is_taken_for_no_other(
    manager: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert manager.queue._conn is not None
    send = manager.queue._conn.send_bytes

    def interrupt(message: bytes) -> None:
        send(message)
        raise Interrupted

    with monkeypatch.context() as patch:
        patch.setattr(manager.queue._conn, "send_bytes", interrupt)
        with pytest.raises(Interrupted):
            post(manager.queue, "a")
    stats = InThread(manager.queue.stats)
    assert "ready" in stats.result(5)
    wait_until(lambda: manager.queue.stats()["ready"] == 1, "what was sent is taken", 10)


def test_what_was_posted_and_never_asked_for_holds_nobody_up(manager: Harness) -> None:
    assert post(manager.queue, "a") is not None  # as when Ctrl-C comes before anybody has noted it
    assert InThread(manager.queue.stats).result(5)["ready"] == 1
    message = post(manager.queue, "b")
    assert message is not None
    assert manager.queue.answer(message) == 1
