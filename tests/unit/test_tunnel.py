"""The tunnels beneath ``managers://``: what goes in at one side comes out at the other, and both end together."""

from __future__ import annotations

import gc
import os
import select
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskyard import tls, tunnel, wire
from taskyard.settings import TlsFiles
from tests.harness import InThread, settled, wait_until

BIG = os.urandom(1024 * 1024) * 16
UNREAD = 64 * 1024 * 1024
"""More than any buffers between two ends should take."""
HELLO = b"a server speaks first"
ROOT = Path(__file__).parents[2]


def client_of(certs: Path) -> ssl.SSLContext:
    return tls.client_context(TlsFiles(certs / "ca.pem"))


def server_of(certs: Path) -> ssl.SSLContext:
    return tls.server_context(certs / "master.pem", certs / "master.key", None)


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        return client, server.accept()[0]


Ends = tuple[socket.socket, socket.socket]
"""The near ends of a client and of its server."""


def tunnels(certs: Path) -> Ends:
    client, accepted = tcp_pair()
    opening = tunnel.start(tunnel.couple(client, client_of(certs), "127.0.0.1"))
    server = tunnel.start(tunnel.couple(accepted, server_of(certs))).result(10)
    server.sendall(HELLO)
    near = opening.result(10)
    assert near.recv(100) == HELLO
    return near, server


@pytest.fixture
def ends(certs: Path) -> Iterator[Ends]:
    one, other = tunnels(certs)
    one.settimeout(20)
    other.settimeout(20)
    with one, other:
        yield one, other


@pytest.fixture
def foreign(certs: Path) -> Iterator[tuple[socket.socket, ssl.SSLSocket]]:
    """A client's near end, and a server of another make, whose TCP connection a test has for itself."""
    client, accepted = tcp_pair()
    opening = tunnel.start(tunnel.couple(client, client_of(certs), "127.0.0.1"))
    accepted.settimeout(20)
    with server_of(certs).wrap_socket(accepted, server_side=True, suppress_ragged_eofs=False) as server:
        server.sendall(HELLO)
        with opening.result(10) as near:
            near.settimeout(20)
            assert near.recv(100) == HELLO
            yield near, server


def read(sock: socket.socket, size: int) -> bytes:
    got = bytearray()
    while len(got) < size and (data := sock.recv(1024 * 1024)):
        got += data
    return bytes(got)


def test_big_messages_go_both_ways_at_once_and_arrive_whole(ends: Ends) -> None:
    sending = [InThread(lambda end=end: end.sendall(BIG)) for end in ends]  # type: ignore[misc]
    reading = [InThread(lambda end=end: read(end, len(BIG))) for end in ends]  # type: ignore[misc]
    assert [one.result(60) == BIG for one in reading] == [True, True]
    for one in sending:
        one.result(60)


@pytest.mark.parametrize("way", [1, -1], ids=["to the server", "to the client"])
def test_who_does_not_read_holds_up_who_writes_and_gets_all_of_it_later(ends: Ends, way: int) -> None:
    writer, reader = ends[::way]
    writer.setblocking(False)
    written = 0
    # It is held up for good once nothing more goes in for a while.
    while select.select([], [writer], [], 0.5)[1]:
        written += writer.send(BIG[: 1024 * 1024])
        assert written < UNREAD
    got = InThread(lambda: read(reader, written + 3))
    writer.settimeout(20)
    writer.sendall(b"end")
    data = got.result(60)
    assert (len(data), data[-3:]) == (written + 3, b"end")


@pytest.mark.parametrize("way", [1, -1], ids=["the client", "the server"])
@pytest.mark.parametrize("how", ["close", "one direction", "both directions"])
def test_the_end_of_either_side_is_the_others_after_all_that_was_sent(ends: Ends, way: int, how: str) -> None:
    ending, other = ends[::way]
    sending = InThread(lambda: ending.sendall(BIG))
    got = InThread(lambda: read(other, len(BIG) + 1))
    sending.result(60)
    if how == "close":
        ending.close()
    else:
        ending.shutdown(socket.SHUT_WR if how == "one direction" else socket.SHUT_RDWR)
        assert ending.recv(1) == b""  # a tunnel is never half open
    assert got.result(60) == BIG
    assert other.recv(1) == b""
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        other.sendall(BIG)


@pytest.mark.parametrize("how", ["half", "whole", "reset", "goodbye"])
def test_a_host_that_is_gone_ends_the_tunnel_however_it_went(foreign: tuple[socket.socket, ssl.SSLSocket], how: str) -> None:
    near, server = foreign
    saying: InThread | None = None
    if how == "half":  # it closes its direction of the TCP connection, and without a goodbye
        server.shutdown(socket.SHUT_WR)
    elif how == "goodbye":
        saying = InThread(server.unwrap)  # it waits for ours
    else:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0" if how == "reset" else bytes(8))
        server.close()
    assert near.recv(1) == b""
    if saying is not None:  # left behind, it would read from whatever has the descriptor's number next
        saying.result()


def test_who_closes_says_goodbye(foreign: tuple[socket.socket, ssl.SSLSocket]) -> None:
    near, server = foreign
    near.close()
    assert server.recv(1) == b""  # an end without a goodbye would raise


def test_bytes_that_were_tampered_with_end_the_tunnel_and_reach_nobody(foreign: tuple[socket.socket, ssl.SSLSocket]) -> None:
    near, server = foreign
    with socket.socket(fileno=os.dup(server.fileno())) as raw:
        raw.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
    assert near.recv(100) == b""


def test_older_versions_of_tls_are_refused(certs: Path) -> None:
    client, accepted = tcp_pair()
    old = client_of(certs)
    old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_2
    serving = tunnel.start(tunnel.couple(accepted, server_of(certs)))
    with client, pytest.raises(ssl.SSLError, match=r"(?i)protocol version"):
        old.wrap_socket(client, server_hostname="127.0.0.1")
    with pytest.raises(ssl.SSLError, match=r"(?i)unsupported.protocol"):
        serving.result(10)


@pytest.mark.parametrize("side", ["client", "server"])
def test_who_does_not_come_through_its_handshake_is_given_up(certs: Path, side: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "HANDSHAKE_SECONDS", 0.2)
    client, accepted = tcp_pair()
    silent, sock = (accepted, client) if side == "client" else (client, accepted)
    work = tunnel.couple(sock, client_of(certs), "127.0.0.1") if side == "client" else tunnel.couple(sock, server_of(certs))
    with silent, pytest.raises(TimeoutError, match="no TLS handshake in time"):
        tunnel.start(work).result(10)


@pytest.mark.parametrize("which", ["client", "server"])
def test_the_tcp_connection_sends_at_once_and_notices_a_host_that_is_gone(certs: Path, which: str) -> None:
    pair = tcp_pair()
    with socket.socket(fileno=os.dup(pair[which == "server"].fileno())) as sock:
        opening = tunnel.start(tunnel.couple(pair[0], client_of(certs), "127.0.0.1"))
        with tunnel.start(tunnel.couple(pair[1], server_of(certs))).result(10) as server:
            server.sendall(HELLO)
            with opening.result(10):
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 1000 * tunnel.UNSENT_SECONDS


def test_a_connection_of_the_queue_is_made_of_a_near_end_as_of_a_socket(certs: Path) -> None:
    client, server = tunnels(certs)
    with wire.adopt(client, 10, wire.ClientConnection) as one, wire.adopt(server, 0.1) as other:
        one.send(("queue", "stats", (), {}))
        assert other.poll(10)
        assert other.recv() == ("queue", "stats", (), {})
        with pytest.raises(BlockingIOError):
            other.recv()
        assert not other.peer_is_gone()
        wire.shut_down(one)
        assert other.poll(10)
        assert other.peer_is_gone()


def test_tunnels_have_one_thread_together_and_leave_no_descriptor_behind(certs: Path, ends: Ends) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    gc.collect()
    before, threads = settled(descriptors), threading.active_count()
    several = [tunnels(certs) for _ in range(20)]
    assert threading.active_count() == threads
    for one, other in several:
        one.close()
        other.close()
    wait_until(lambda: descriptors() <= before, "all descriptors are closed", 10)


FORKS = """
import os, sys, warnings
from pathlib import Path
from tests.unit.test_tunnel import tunnels
warnings.simplefilter("ignore", DeprecationWarning)  # newer versions of Python find forks with threads risky
certs = Path(sys.argv[1])
one, other = tunnels(certs)
told, tell = os.pipe()
wait, end = os.pipe()
if os.fork() == 0:
    one.close(); other.close(); os.close(end)
    mine, its = tunnels(certs)
    mine.sendall(b"in the child")
    os.write(tell, its.recv(100))
    os.read(wait, 1)  # lives on
    os._exit(0)
print(os.read(told, 100).decode())
one.sendall(b"in the parent")
print(other.recv(100).decode())
one.close()
other.settimeout(10)
print(other.recv(100))
"""


def test_a_forked_child_has_tunnels_of_its_own_and_keeps_none_of_its_parents_open(certs: Path) -> None:
    ended = subprocess.run([sys.executable, "-c", FORKS, certs], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert ended.stdout.splitlines() == ["in the child", "in the parent", "b''"], ended.stderr


@pytest.mark.parametrize("answer", [b"\x16\x03\x03", b"\x15\x03\x03", b"\0\0\0\x1f#CHALLENGE#", b""])
def test_a_server_of_tls_is_told_from_others_by_its_first_bytes(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            conn, _ = server.accept()
            with conn:
                conn.recv(1)
                conn.sendall(answer)

        serving = InThread(serve)
        assert tls.speaks_tls(server.getsockname(), 5.0) == (answer[:1] in (b"\x16", b"\x15"))
        serving.result()
