"""What comes over the wire is plain data of a bounded size; nothing that it names is built."""

from __future__ import annotations

import datetime
import math
import os
import pickle
import queue
import socket
from collections.abc import Iterator
from multiprocessing import AuthenticationError
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskyard import wire
from tests.harness import AUTHKEY, InThread

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
PLAIN = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(SCALARS, inner) | st.sets(SCALARS),
    max_leaves=20,
)
PROTOCOLS = range(2, pickle.HIGHEST_PROTOCOL + 1)


class Trap:
    """Its pickle makes a folder when it is opened by the usual unpickler."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


Ends = tuple[wire.PlainConnection, wire.PlainConnection]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The client's and the master's end of a connection, as they are during the handshake."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        accepted = server.accept()[0]
    with wire.adopt(client, 10, wire.ClientConnection) as one, wire.adopt(accepted, 10) as other:
        yield one, other


@settings(max_examples=50, deadline=None)
@given(PLAIN)
def test_plain_data_comes_out_as_it_went_in(value: Any) -> None:
    assert wire.load(pickle.dumps(value, protocol=5)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_numbers_text_and_containers_need_no_global_in_any_protocol(protocol: int) -> None:
    value: list[Any] = [1, -(2**70), 1.5, math.inf, True, None, "ü", (1, ()), {"k": [{}]}]
    assert wire.load(pickle.dumps(value, protocol=protocol)) == value


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "value",
    [object(), os.system, ValueError("x"), 1j, range(3), Path("x"), datetime.date(2024, 1, 1), int, slice(1)],
    ids=lambda value: "object" if type(value) is object else repr(value),  # not its address, which is another in each process
)
def test_any_global_is_refused_by_its_name(value: object, protocol: int) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"only plain data is taken here, not [\w.]+"):
        wire.load(pickle.dumps([1, value], protocol=protocol))


LOADED = st.sampled_from(
    ["builtins", "os", "posix", "subprocess", "copyreg", "pickle", "queue", "taskyard.wire", "no_such_module"]
)
IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?", fullmatch=True)


@settings(max_examples=50, deadline=None)
@given(LOADED | IDENTIFIERS, st.sampled_from(["eval", "system", "Popen", "loads", "load"]) | IDENTIFIERS)
def test_a_global_is_refused_whatever_it_is_and_however_it_is_named(module: str, name: str) -> None:
    texts = b"".join(b"X" + len(text.encode()).to_bytes(4, "little") + text.encode() for text in (module, name))
    lines = f"{module}\n{name}\n".encode()
    # From the stack, as a line, and as the class of an old-style instance.
    for message in (b"\x80\x04" + texts + b"\x93.", b"c" + lines + b".", b"(i" + lines + b"."):
        with pytest.raises(pickle.UnpicklingError, match="only plain data is taken here"):
            wire.load(message)


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("side", ["client", "master"])
def test_nothing_that_a_message_names_is_run(side: str, protocol: int, tmp_path: Path, ends: Ends) -> None:
    reading, writing = ends if side == "client" else reversed(ends)
    message = pickle.dumps({"args": [Trap(tmp_path / "sprung")]}, protocol=protocol)
    writing.send_bytes(message)
    with pytest.raises(pickle.UnpicklingError, match=r"posix\.mkdir"):
        reading.recv()
    assert not (tmp_path / "sprung").exists()
    pickle.loads(message)
    assert (tmp_path / "sprung").exists()  # the usual unpickler runs it


# What a client reads


@pytest.mark.parametrize("error", [ValueError("no"), queue.Empty(), queue.Full(), AttributeError("there is no such method")])
def test_a_client_reads_the_standard_librarys_exceptions(error: Exception, ends: Ends) -> None:
    client, master = ends
    master.send(("#ERROR", error))
    kind, got = client.recv()
    assert (kind, type(got), got.args) == ("#ERROR", type(error), error.args)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("builtins", "eval"),
        ("builtins", "object"),
        ("builtins", "SystemExit"),
        ("builtins", "ValueError.mro"),
        ("queue", "Queue"),
    ],
)
def test_a_client_builds_nothing_else(module: str, name: str, ends: Ends) -> None:
    client, master = ends
    # Protocol 4 names a global by two texts from the stack.
    texts = b"".join(b"\x8c" + bytes([len(text)]) + text.encode() for text in (module, name))
    master.send_bytes(b"\x80\x04" + texts + b"\x93.")
    with pytest.raises(pickle.UnpicklingError, match=f"not {module}.{name}"):
        client.recv()


# Connections


def test_a_message_goes_both_ways(ends: Ends) -> None:
    one, other = ends
    one.send(("queue", "stats", (), {}))
    assert other.recv() == ("queue", "stats", (), {})
    other.send(("#RETURN", {"ready": 1}))
    assert one.recv() == ("#RETURN", {"ready": 1})


def test_both_ends_send_at_once_and_notice_a_host_that_is_gone(ends: Ends) -> None:
    for end in ends:
        with socket.socket(fileno=os.dup(end.fileno())) as sock:
            # Without it each small message waits for the other side's acknowledgement, some 40 ms.
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


def test_a_stranger_that_says_nothing_is_waited_for_no_longer_than_agreed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        with socket.create_connection(server.getsockname()):
            with wire.adopt(server.accept()[0], 0.05) as silent:
                with pytest.raises(BlockingIOError):
                    silent.recv()


def test_a_message_over_the_bound_is_not_read(ends: Ends) -> None:
    one, other = ends
    one.send_bytes(b"x" * wire.HANDSHAKE_BYTES)
    assert other.recv_bytes() == b"x" * wire.HANDSHAKE_BYTES
    one.send_bytes(b"x" * (wire.HANDSHAKE_BYTES + 1))
    with pytest.raises(OSError, match="bad message length"):
        other.recv_bytes()


def test_a_message_after_the_deadline_is_not_read(ends: Ends) -> None:
    one, other = ends
    one.send("late")
    other.deadline = 0.0
    with pytest.raises(TimeoutError, match="prove its key"):
        other.recv()


def test_a_side_that_says_nothing_is_waited_for_no_longer_than_agreed(ends: Ends) -> None:
    one, other = ends
    wire.bound_waits(one, 0.05)
    with pytest.raises(BlockingIOError):
        one.recv()
    other.send("still there")
    assert one.recv() == "still there"


def test_a_side_that_is_gone_is_seen_to_be(ends: Ends) -> None:
    one, other = ends
    assert not one.peer_is_gone()
    wire.shut_down(other)
    assert one.poll(10)
    assert one.peer_is_gone()


def test_a_connection_shut_down_in_one_thread_ends_in_the_one_that_reads_it(ends: Ends) -> None:
    one, _ = ends
    reading = InThread(one.recv)
    wire.shut_down(one)
    with pytest.raises(EOFError):
        reading.result()


def test_a_listener_that_closes_wakes_whoever_waits_for_a_connection() -> None:
    listener = wire.PlainListener(("127.0.0.1", 0))
    accepting = InThread(listener.accept)
    listener.close()
    with pytest.raises(OSError, match=r"."):
        accepting.result()


def test_what_greets_otherwise_is_told_from_a_master() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        opening = InThread(lambda: wire.open_connection(server.getsockname(), AUTHKEY, 10))
        with wire.adopt(server.accept()[0], 10) as stranger:
            stranger.send_bytes(b"HTTP/1.1 400 Bad Request")
            with pytest.raises((ConnectionError, AuthenticationError)):
                opening.result()


def test_a_master_that_does_not_prove_the_key_is_told_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        opening = InThread(lambda: wire.open_connection(server.getsockname(), AUTHKEY, 10))
        with wire.adopt(server.accept()[0], 10) as impostor:
            impostor.send_bytes(b"#CHALLENGE#{sha256}" + bytes(40))
            impostor.recv_bytes()
            impostor.send_bytes(b"#WELCOME#")  # whatever the answer
            impostor.send_bytes(b"{sha256}" + bytes(32))
            with pytest.raises(AuthenticationError):
                opening.result()
