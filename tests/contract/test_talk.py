"""Connections as the engine's thread has them: it waits for no client, and each gets its own answers, whole and in order."""

from __future__ import annotations

import gc
import os
import pickle
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from master import foreign, talk
from master.committer import LEASE
from taskyard import wire
from taskyard.errors import StoreFull
from taskyard.series import from_tasks
from taskyard.transport import IDENT
from tests.harness import AUTHKEY, Harness, task, wait_until

BIG = 16 * 1024 * 1024
"""More than the system keeps for a client that does not read."""


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Harness]:
    made = Harness(tmp_path, "manager")
    yield made
    made.end()


def connect(manager: Harness) -> wire.PlainConnection:
    """A connection that has proved its key."""
    assert manager.server is not None
    conn = wire.open_connection(manager.server.listener.address, AUTHKEY)
    conn.max_bytes = 2 * BIG
    wire.bound_waits(conn, 20, 20)
    conn.send((None, "accept_connection", ("test",), {}))
    assert conn.recv() == ("#RETURN", None)
    return conn


def request(verb: str, *args: Any) -> bytes:
    return pickle.dumps((IDENT, verb, args, {}), protocol=5)


def framed(*messages: bytes) -> bytes:
    return b"".join(struct.pack("!i", len(message)) + message for message in messages)


def raw(conn: wire.PlainConnection) -> socket.socket:
    """Its socket, to send what is no message; both are to be closed."""
    return socket.socket(fileno=os.dup(conn.fileno()))


@contextmanager
def busy(manager: Harness) -> Iterator[None]:
    """While the engine's thread is at something long."""
    begun, goes_on = threading.Event(), threading.Event()

    def wait() -> None:
        begun.set()
        goes_on.wait(20)

    manager.committer.tell(wait)
    assert begun.wait(10)
    try:
        yield
    finally:
        goes_on.set()


def wait_until_handed_over(manager: Harness) -> None:
    """Return once a connection is the next thing that the engine's thread will look at."""
    wait_until(lambda: manager.committer._inbox.qsize() == 1, "it is handed over", 10)


def test_a_request_that_comes_byte_by_byte_is_answered_and_nobody_else_waits_for_it(manager: Harness) -> None:
    with connect(manager) as conn, raw(conn) as sock:
        for byte in framed(request("jobs", None, 10, 0)):
            assert not conn.poll(0)
            sock.sendall(bytes([byte]))
            assert manager.queue.stats()["ready"] == 0
        assert conn.recv() == ("#RETURN", [])


def test_a_long_request_is_put_together(manager: Harness) -> None:
    manager.queue.submit([task("big", payload=b"x" * BIG)])
    (lease,) = manager.queue.lease("s", 1, 0)
    assert lease.payload == b"x" * BIG


def test_requests_that_did_not_wait_for_their_answers_are_answered_in_their_order(manager: Harness) -> None:
    with connect(manager) as conn, raw(conn) as sock:
        sock.sendall(framed(*(request("results", str(n), n, 1, 0.0) if n % 2 else request("no" * n) for n in range(20))))
        answers = [conn.recv() for _ in range(20)]
    assert [kind for kind, _ in answers] == ["#ERROR", "#RETURN"] * 10
    assert all(("no" * n)[:100] in answers[n][1][1] for n in range(0, 20, 2))


def test_what_a_client_says_while_it_waits_is_answered_afterwards(manager: Harness) -> None:
    with connect(manager) as conn, raw(conn) as sock:
        sock.sendall(framed(request("lease", "s", 1, 20.0, None)))
        manager.wait_until_one_waits(LEASE)
        sock.sendall(framed(request("forget", "nothing"), request("leave", "s")))
        manager.queue.submit([task("a")])
        kind, ((lent, *_),) = conn.recv()
        assert (kind, lent) == ("#RETURN", "a")
        assert [conn.recv(), conn.recv()] == [("#RETURN", 0), ("#RETURN", 1)]


def test_a_client_that_closes_after_its_request_is_done_what_it_asked(manager: Harness) -> None:
    with connect(manager) as conn:
        conn.send_bytes(request("submit", [tuple(series) for series in from_tasks([task("a")])]))
    wait_until(lambda: manager.queue.stats()["ready"] == 1, "it is submitted", 10)


def test_a_client_that_does_not_read_keeps_nobody_waiting_and_gets_its_answer_whole(manager: Harness) -> None:
    manager.queue.submit([task("big", payload=b"x" * BIG)])
    with connect(manager) as conn:
        conn.send_bytes(request("lease", "s", 1, 0.0, None))
        wait_until(lambda: manager.queue.stats()["leased"] == 1, "it is lent", 10)
        begun = time.monotonic()
        manager.queue.stats()
        assert time.monotonic() - begun < 5
        kind, (lent,) = conn.recv()
        assert kind == "#RETURN"
        assert b"x" * BIG in lent[5]
        conn.send_bytes(request("leave", "s"))
        assert conn.recv() == ("#RETURN", 1)


def test_a_client_that_does_not_read_is_given_up_in_the_end_and_what_it_lent_comes_back(
    manager: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(talk, "SEND_SECONDS", 2.0)
    manager.queue.submit([task("big", payload=b"x" * BIG)])
    with connect(manager) as conn:
        conn.send_bytes(request("lease", "s", 1, 0.0, None))
        wait_until(lambda: manager.queue.stats()["leased"] == 1, "it is lent", 10)
        wait_until(lambda: manager.queue.stats()["leased"] == 0, "it is given up", 20)
    assert manager.queue.stats()["ready"] == 1


def test_a_message_over_the_bound_ends_the_connection_and_nothing_of_it_is_read(manager: Harness) -> None:
    with connect(manager) as conn, raw(conn) as sock:
        conn.send_bytes(request("stats"))
        conn.recv()
        sock.sendall(struct.pack("!i", 2**31 - 1) + b"x" * 100)
        with pytest.raises((EOFError, ConnectionError)):
            conn.recv()
    assert manager.queue.stats()["ready"] == 0


@pytest.mark.parametrize("garbage", [b"", b"garbage", pickle.dumps((IDENT, "stats", 1, {})), pickle.dumps("text")])
def test_what_is_no_request_is_told_and_the_next_one_served(manager: Harness, garbage: bytes) -> None:
    with connect(manager) as conn:
        conn.send_bytes(request("jobs", None, 10, 0))
        assert conn.recv() == ("#RETURN", [])
        conn.send_bytes(garbage)
        answer = conn.recv_bytes()
        assert b"#ERROR" in answer
        assert b"can't be read" in answer
        conn.send_bytes(request("jobs", None, 10, 0))
        assert conn.recv() == ("#RETURN", [])


def test_who_speaks_to_the_queue_can_not_speak_to_the_tutorials_two_on_the_same_connection(manager: Harness) -> None:
    with connect(manager) as conn:
        conn.send_bytes(request("jobs", None, 10, 0))
        assert conn.recv() == ("#RETURN", [])
        conn.send(("task", "qsize", (), {}))
        kind, (name, text) = conn.recv()
        assert (kind, name) == ("#ERROR", "BadRequest")
        assert "other objects" in text


def test_who_speaks_to_the_tutorials_two_can_not_speak_to_the_queue_and_what_it_took_comes_back(manager: Harness) -> None:
    with connect(manager) as conn:
        for asked, answer in ((("put", (1,)), None), (("get", ()), 1)):
            conn.send(("task", *asked, {}))
            assert conn.recv() == ("#RETURN", answer)
        conn.send_bytes(request("jobs", None, 10, 0))
        assert b"there is no 'jobs' of 'queue' here" in conn.recv_bytes()
    wait_until(lambda: manager.queue.stats()["items"]["task"] == 1, "it is given back", 10)


def test_what_a_foreign_program_took_comes_back_also_when_its_thread_ends_by_a_fault(
    manager: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    thread_ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: thread_ended.set())
    with connect(manager) as conn:
        for asked, answer in ((("put", (1,)), None), (("get", ()), 1)):
            conn.send(("task", *asked, {}))
            assert conn.recv() == ("#RETURN", answer)
        with monkeypatch.context() as patched:
            patched.setattr(foreign.Program, "reply", fail)
            conn.send(("task", "qsize", (), {}))
            with pytest.raises(EOFError):
                conn.recv()
    assert thread_ended.wait(10)
    wait_until(lambda: manager.queue.stats()["items"]["task"] == 1, "it is given back", 10)


def test_wrong_requests_without_end_keep_nobody_waiting(manager: Harness) -> None:
    with connect(manager) as conn, raw(conn) as sock:
        conn.send_bytes(request("jobs", None, 10, 0))
        assert conn.recv() == ("#RETURN", [])
        told_before: list[bool] = []
        with busy(manager):
            sock.sendall(framed(*[b""] * 100))
            manager.committer.tell(lambda: told_before.append(conn.poll(0)))
        assert [b"can't be read" in conn.recv_bytes() for _ in range(100)] == [True] * 100
    assert told_before == [False]


@pytest.mark.parametrize(
    "message",
    [
        b"x" * BIG,
        request("nonsense", "x" * BIG),
        request("submit", [tuple(series) for series in from_tasks([task("a", payload=b"x" * BIG, priority=2**70)])]),
        request("results", "j" * BIG, -1, 1, 0.0),
    ],
    ids=["garbage", "an unknown verb", "a wrong task", "what can wait"],
)
def test_nothing_is_kept_of_a_wrong_request(manager: Harness, message: bytes) -> None:
    with connect(manager) as conn:
        conn.send_bytes(request("jobs", None, 10, 0))
        assert conn.recv() == ("#RETURN", [])
        gc.disable()  # which comes late, since a few big messages are a few objects
        tracemalloc.start()
        try:
            conn.send_bytes(message)
            assert b"#ERROR" in conn.recv_bytes()
            manager.queue.stats()
            assert tracemalloc.get_traced_memory()[0] < BIG / 2
        finally:
            tracemalloc.stop()
            gc.enable()


def test_a_connection_that_begins_in_a_turn_in_which_the_disk_refuses_something_is_served(manager: Harness) -> None:
    def refused() -> None:
        raise StoreFull("the disk is full")

    with connect(manager) as conn, capture_logs() as lines:
        with busy(manager):
            conn.send_bytes(request("jobs", None, 10, 0))
            wait_until_handed_over(manager)
            manager.committer.tell(refused)
        assert conn.recv() == ("#RETURN", [])
    assert [line["event"] for line in lines] == ["nothing can be written"]


def test_a_client_that_is_gone_before_its_wrong_request_was_looked_at_is_no_failure(manager: Harness) -> None:
    with capture_logs() as lines:
        with busy(manager):
            with connect(manager) as conn, raw(conn) as sock:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # it resets, as if it had died
                client = sock.getsockname()
                conn.send_bytes(request("nonsense"))
                wait_until_handed_over(manager)
        assert manager.server is not None
        manager.server.wait_until_closed(client)
    assert lines == []


def test_a_connection_that_the_system_watches_no_more_is_closed_and_the_others_are_served(
    manager: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(peer: Any) -> None:
        raise OSError("no more watches")

    manager.queue.stats()
    with monkeypatch.context() as patched, connect(manager) as conn:
        patched.setattr(manager.committer.poll, "add", refuse)
        conn.send_bytes(request("stats"))
        with pytest.raises(EOFError):
            conn.recv()
    assert manager.queue.stats()["ready"] == 0


def test_a_message_for_which_there_is_no_memory_ends_its_connection_and_no_other(
    manager: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager.queue.stats()
    with connect(manager) as conn:
        conn.send_bytes(request("jobs", None, 10, 0))
        assert conn.recv() == ("#RETURN", [])
        with monkeypatch.context() as patched:
            patched.setattr(talk, "READ_BYTES", 2**62)
            conn.send_bytes(request("jobs", None, 10, 0))
            with pytest.raises((EOFError, ConnectionError)):
                conn.recv()
    assert manager.queue.stats()["ready"] == 0
