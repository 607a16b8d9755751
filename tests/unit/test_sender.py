"""What the sender makes of a queue that is full, refuses something, or is told that a call is not wanted any more."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from taskyard.errors import BadRequest, PayloadTooLarge, QueueFull
from taskyard.futures import Block, Key, OpenCalls
from taskyard.options import Options
from taskyard.sender import SEND_TASKS, Sender
from taskyard.series import TaskSeries, ids_of
from tests.harness import InThread, wait_until

OPTIONS = Options(name="square")


class Queue:
    """Has room for so many tasks, and refuses those with a payload that is ``bad``."""

    def __init__(self, room: int = 10**9, bad: bytes = b"?", error: Exception | None = None) -> None:
        self.room = room
        self.bad = bad
        self.error = error or BadRequest("no")
        self.taken: list[str] = []
        self.sizes: list[int] = []
        self.cancelled: list[str] = []

    def submit_series(self, series: Sequence[TaskSeries]) -> int:
        ids = [task_id for one in series for task_id in ids_of(one.prefix, one.first, len(one.payloads))]
        self.sizes.append(len(ids))
        if any(self.bad in one.payloads for one in series):
            raise self.error
        if len(ids) > self.room:
            raise QueueFull("full")
        self.room -= len(ids)
        self.taken += ids
        return len(ids)

    def cancel(self, ids: list[str]) -> int:
        self.cancelled += ids
        return len(ids)


class PostingQueue(Queue):
    """Takes posted calls too."""

    def post(self, verb: str, series: list[tuple[object, ...]]) -> bytes:
        assert verb == "submit"
        self.posted = [TaskSeries(*one) for one in series]  # type: ignore[arg-type]
        return b"message"

    def answer(self, message: bytes) -> int:
        assert message == b"message"
        return self.submit_series(self.posted)


class Sending:
    """A sender in a thread of its own."""

    def __init__(self) -> None:
        self.calls = OpenCalls("job")
        self.thread: InThread | None = None

    def begin(self, queue: Queue, *payloads: bytes) -> tuple[Sender, Block]:
        sender = Sender(queue, self.calls, "job", self._note_known)  # type: ignore[arg-type]
        block = Block(self.calls, 0, len(payloads))
        with self.calls.lock:
            self.calls.update(dict.fromkeys(range(len(payloads)), block))
            sender.post(OPTIONS, 0, list(payloads))
        self.thread = InThread(sender.run)
        return sender, block

    def end(self) -> None:
        with self.calls.lock:
            self.calls.stopping = True
            self.calls.clear()
            self.calls.news.notify_all()
        if self.thread is not None:
            self.thread.result()

    @staticmethod
    def _note_known(keys: list[Key]) -> None:
        raise AssertionError("there are none")


@pytest.fixture
def sending() -> Iterator[Sending]:
    made = Sending()
    yield made
    made.end()


def test_calls_are_sent_in_messages_of_a_bounded_number(sending: Sending) -> None:
    queue = Queue()
    sender, _ = sending.begin(queue, *[b"x"] * (2 * SEND_TASKS + 1))
    wait_until(lambda: not sender.unsent, "all is sent")
    assert queue.sizes == [SEND_TASKS, SEND_TASKS, 1]
    assert queue.taken == [f"job-{n}" for n in range(2 * SEND_TASKS + 1)]


def test_calls_for_which_there_is_no_room_wait_for_it_and_are_tried_fewer_at_a_time(sending: Sending) -> None:
    queue = Queue(room=3)
    sender, _ = sending.begin(queue, *[b"x"] * 8)
    wait_until(lambda: len(queue.taken) == 2, "as many as fit are taken")
    assert not sender.is_sent(7)
    queue.room = 100
    wait_until(lambda: not sender.unsent, "all is sent once there is room")
    assert queue.taken == [f"job-{n}" for n in range(8)]
    assert queue.sizes[:3] == [8, 4, 2]
    assert sender.is_sent(7)
    assert not sender.is_sent(8)


@pytest.mark.parametrize("error", [BadRequest("no"), PayloadTooLarge("too large")])
def test_a_call_that_is_refused_fails_and_the_others_are_sent(sending: Sending, error: Exception) -> None:
    queue = Queue(error=error)
    sender, block = sending.begin(queue, *b"0 1 2 3 ? 5 6".split())
    wait_until(lambda: not sender.unsent, "all is sent, or refused")
    assert queue.taken == [f"job-{n}" for n in (0, 1, 2, 3, 5, 6)]
    assert block.ends == [None, None, None, None, error, None, None]


def test_calls_that_were_cancelled_before_they_were_sent_are_not_sent(sending: Sending) -> None:
    queue = Queue(room=0)
    sender, block = sending.begin(queue, *[b"x"] * 6)
    wait_until(lambda: queue.sizes, "they are tried")
    sending.calls.cancel([1, 2, 5])
    queue.room = 100
    wait_until(lambda: not sender.unsent, "the others are sent")
    assert queue.taken == ["job-0", "job-3", "job-4"]
    assert queue.cancelled == ["job-1", "job-2", "job-5"]
    assert [type(end).__name__ for end in block.ends if end is not None] == ["CancelledError"] * 3


def test_a_call_with_a_key_that_was_cancelled_before_it_was_sent_is_not_sent(sending: Sending) -> None:
    queue = Queue(room=0)
    sender, block = sending.begin(queue, b"x")
    wait_until(lambda: queue.sizes, "it is tried")
    with sending.calls.lock:
        for key in ("one", "two"):
            sending.calls[key] = block
            sender.post(OPTIONS, key, [b"x"])
    assert sending.calls.withdraw("one", block)
    queue.room = 100
    wait_until(lambda: not sender.unsent, "the others are sent")
    assert queue.taken == ["job-0", "two"]
    assert queue.cancelled == ["one"]


def test_a_call_with_the_key_of_one_that_was_cancelled_is_not_taken_for_sent(sending: Sending) -> None:
    sender, block = sending.begin(PostingQueue(), b"x")
    with sending.calls.lock:
        sending.calls["key"] = block
        sender.post(OPTIONS, "key", [b"x"])
    wait_until(lambda: sender.is_sent("key"), "it is sent")
    with sending.calls.lock:
        assert sending.calls.withdraw("key", block)
        sending.calls["key"] = block
        sender.post(OPTIONS, "key", [b"x"])
        assert not sender.is_sent("key")
    wait_until(lambda: sender.is_sent("key"), "it is sent too")


def test_a_sender_ends_once_no_call_is_open(sending: Sending) -> None:
    sending.begin(Queue(), b"x")
    sending.end()


def test_what_was_cancelled_is_told_before_a_call_with_the_same_key_is_sent() -> None:
    told: list[str] = []

    class Telling(Queue):
        def submit_series(self, series: Sequence[TaskSeries]) -> int:
            told.append("submit")
            return super().submit_series(series)

        def cancel(self, ids: list[str]) -> int:
            told.append("cancel")
            return super().cancel(ids)

    queue, calls = Telling(), OpenCalls("job")
    sender = Sender(queue, calls, "job", lambda keys: None)  # type: ignore[arg-type]
    with calls.lock:
        calls["key"] = Block(calls, 0, 1)
        sender.post(OPTIONS, "key", [b"again"])
        calls.cancelled.append("key")
    thread = InThread(sender.run)
    wait_until(lambda: queue.taken, "it is sent", 10)
    with calls.lock:
        calls.stopping = True
        calls.clear()
        calls.news.notify_all()
    thread.result()
    assert told == ["cancel", "submit"]


def test_a_call_is_posted_by_the_caller_only_where_it_is_the_only_one() -> None:
    queue, calls = PostingQueue(), OpenCalls("job")
    sender = Sender(queue, calls, "job", lambda keys: None)  # type: ignore[arg-type]
    thread = InThread(sender.run)
    wait_until(lambda: sender._idle, "the thread waits", 10)
    with calls.lock:
        for number in range(3):
            calls[number] = Block(calls, number, 1)
            sender.post(OPTIONS, number, [b"%d" % number])
        assert [one.payloads for one in queue.posted] == [[b"0"]]
    wait_until(lambda: len(queue.taken) == 3, "all are sent", 10)
    with calls.lock:
        calls.stopping = True
        calls.clear()
        calls.news.notify_all()
    thread.result()
    assert queue.taken == ["job-0", "job-1", "job-2"]
    assert sender.unsent == 0
