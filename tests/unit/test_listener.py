"""The listener of a port that speaks TLS: strangers cost it little, and it leaves nothing behind."""

from __future__ import annotations

import errno
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from multiprocessing import connection
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from master import listener
from master.listener import TlsListener
from taskyard import tls, wire
from taskyard.settings import TlsFiles
from tests.harness import AUTHKEY, InThread, settled, wait_until


@pytest.fixture
def make(certs: Path) -> Iterator[Callable[[], TlsListener]]:
    """Makes listeners that are closed with the test."""
    with ExitStack() as stack:

        def make_one() -> TlsListener:
            made = TlsListener(("127.0.0.1", 0), context=tls.server_context(certs / "master.pem", certs / "master.key", None))
            stack.callback(made.close)
            return made

        yield make_one


def connect(at: TlsListener, certs: Path) -> ssl.SSLSocket:
    context = tls.client_context(TlsFiles(certs / "ca.pem"))
    return context.wrap_socket(socket.create_connection(at.address, timeout=10), server_hostname="127.0.0.1")


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_what_is_handed_out_has_passed_the_handshake_and_has_a_deadline_for_the_key(
    make: Callable[[], TlsListener], certs: Path
) -> None:
    port = make()
    with socket.create_connection(port.address), connect(port, certs) as client:  # the first says nothing
        with port.accept() as conn:
            conn.send("a challenge")
            assert b"a challenge" in client.recv(100)
            assert conn.deadline < float("inf")


def test_silent_strangers_are_given_up(make: Callable[[], TlsListener], certs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HANDSHAKE_SECONDS", 0.5)
    threads = threading.active_count()
    port = make()
    with capture_logs() as logs, ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(port.address, timeout=10)) for _ in range(9)]
        assert [sock.recv(1) for sock in silent] == [b""] * 9
        assert threading.active_count() <= threads + 1
        monkeypatch.undo()  # who shakes hands may need more
        stack.enter_context(connect(port, certs))
        port.accept().close()
    refused = [log["reason"] for log in logs if log["event"] == "a connection was refused"]
    assert refused == ["TLS: no TLS handshake in time"] * 9


def test_silent_strangers_are_bounded_and_keep_no_newcomer_out(
    make: Callable[[], TlsListener], certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKES", 3)
    monkeypatch.setattr(wire, "HANDSHAKE_SECONDS", 60.0)
    make()  # the loop's own descriptors stay
    before = settled(descriptors)
    port = make()
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(port.address, timeout=10)) for _ in range(50)]
        stack.enter_context(connect(port, certs))  # it waits for none of their handshakes to end
        port.accept().close()
        assert [sock.recv(1) for sock in silent[:48]] == [b""] * 48  # those that have been there for longest
        silent[49].settimeout(0)
        with pytest.raises(BlockingIOError):
            silent[49].recv(1)
    port.close()
    wait_until(lambda: descriptors() <= before, "all descriptors are closed", 10)


def test_who_has_passed_the_handshake_and_is_not_accepted_yet_counts_too(
    make: Callable[[], TlsListener], certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "HANDSHAKES", 1)
    port = make()
    with connect(port, certs):
        second = InThread(lambda: connect(port, certs))
        with pytest.raises(AssertionError, match="has not returned"):
            second.result(0.3)
        port.accept().close()
        second.result().close()


def test_a_listener_that_closes_wakes_whoever_waits_and_leaves_nothing_behind(
    certs: Path, make: Callable[[], TlsListener]
) -> None:
    make()  # the loop's own descriptors stay
    before = settled(descriptors)
    port = TlsListener(("127.0.0.1", 0), context=tls.server_context(certs / "master.pem", certs / "master.key", None))
    accepting = InThread(port.accept)
    with connect(port, certs) as client:
        accepting.result().close()
        client.recv(1)
    accepting = InThread(port.accept)
    with socket.create_connection(port.address), connect(port, certs) as waits:
        accepting.result().close()
        with connect(port, certs):  # nobody has accepted it
            port.close()
            with pytest.raises(OSError, match="closed"):
                port.accept()
        waits.recv(1)
    with socket.create_server(port.address):  # its port is free at once
        pass
    TlsListener(("127.0.0.1", 0), context=tls.server_context(certs / "master.pem", certs / "master.key", None)).close()
    wait_until(lambda: descriptors() <= before, "all descriptors are closed", 10)


def test_a_connection_that_cannot_be_accepted_is_told_and_the_next_one_is(
    make: Callable[[], TlsListener], certs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [OSError(errno.EMFILE, "Too many open files")]
    pair = socket.socketpair

    def no_room() -> tuple[socket.socket, socket.socket]:
        if full:
            raise full.pop()
        return pair()

    port = make()
    monkeypatch.setattr(socket, "socketpair", no_room)
    with capture_logs() as logs:
        with pytest.raises(OSError, match=r"EOF|reset"):
            connect(port, certs)
        wait_until(lambda: any("Too many open files" in log["reason"] for log in logs), "it is told", 20)
    with connect(port, certs):
        port.accept().close()


def test_a_client_of_the_queue_gets_through(make: Callable[[], TlsListener], certs: Path) -> None:
    port = make()
    context = tls.client_context(TlsFiles(certs / "ca.pem"))
    secure = partial(tls.open_tunnel, context=context, name="127.0.0.1", url="managers://127.0.0.1")
    opening = InThread(lambda: wire.open_connection(port.address, AUTHKEY, 10, secure))
    with port.accept() as conn:
        connection.deliver_challenge(conn, AUTHKEY)
        connection.answer_challenge(conn, AUTHKEY)
        with opening.result() as client:
            client.send({"n": 1})
            assert conn.recv() == {"n": 1}
