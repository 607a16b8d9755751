"""The port of a real master, and who knocks at it: strangers, liars, programs that hold the key and mean harm."""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing import AuthenticationError, connection
from multiprocessing.managers import BaseManager, dispatch  # type: ignore[attr-defined]
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.ports import free_port
from taskyard import transport, wire
from taskyard.errors import BadRequest, SettingsError, Unreachable, WrongKey, WrongVersion
from taskyard.model import PROTOCOL
from taskyard.transport import QueueManager, RemoteQueue
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import AUTHKEY as HARNESS_KEY
from tests.harness import Harness, wait_until


@pytest.fixture(autouse=True)
def honest_client_is_served(master: MasterProcess) -> Iterator[None]:
    """Whatever a test does to the master, others don't notice."""
    with master.queue(5.0) as before:
        before.connect()
        told = len(master.log())
        yield
        started = time.monotonic()
        assert before.stats()["ready"] == 0
        with master.queue(5.0) as after:
            assert after.stats()["ready"] == 0
        assert time.monotonic() - started < 4
    assert "Traceback" not in master.log()[told:]


class Evil:
    """Unpickling it runs a command."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self._marker}",)


def knock(master: MasterProcess) -> socket.socket:
    return socket.create_connection(("127.0.0.1", master.port), timeout=10)


def authenticated(master: MasterProcess) -> connection.Connection[Any, Any]:
    """What any program that holds the key can open."""
    return connection.Client(("127.0.0.1", master.port), authkey=AUTHKEY)


def is_hung_up(sock: socket.socket) -> bool:
    try:
        while sock.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


# Keys


def test_a_wrong_key_is_told_at_once(master: MasterProcess) -> None:
    with pytest.raises(WrongKey, match=f"master at {master.url} has another authkey"):
        RemoteQueue(master.url, b"wrong", 10.0).connect()


def test_a_plain_manager_with_a_wrong_key_gets_the_error_that_it_expects(master: MasterProcess) -> None:
    with pytest.raises(AuthenticationError):
        BaseManager(("127.0.0.1", master.port), b"wrong").connect()


# Strangers


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 300, os.urandom(5000), struct.pack("!i", -1) + struct.pack("!Q", 4 << 30), b"\x00\x00"],
    ids=["http", "zeros", "noise", "4 GB", "half a header"],
)
def test_garbage_is_hung_up_on(master: MasterProcess, data: bytes) -> None:
    with knock(master) as sock:
        with contextlib.suppress(OSError):  # it may have hung up already
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        assert is_hung_up(sock)


def test_a_stranger_that_claims_4_gb_is_hung_up_on_at_once(master: MasterProcess) -> None:
    with knock(master) as sock:
        started = time.monotonic()
        sock.sendall(struct.pack("!i", -1) + struct.pack("!Q", 4 << 30))
        assert is_hung_up(sock)
        assert time.monotonic() - started < 4


def test_silent_strangers_do_not_keep_others_out(master: MasterProcess) -> None:
    silent = [knock(master) for _ in range(50)]
    with master.queue(5.0) as queue:
        started = time.monotonic()
        queue.connect()
        assert time.monotonic() - started < 4  # 5 s are what one of them may take
    for sock in silent:
        sock.close()


@pytest.mark.parametrize("how", ["silent", "dripping", "silent with the key"])
def test_who_is_slow_to_prove_the_key_is_hung_up_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(wire, "HANDSHAKE_SECONDS", 2.0)  # of which who has the key needs some
    harness = Harness(tmp_path, "manager")
    assert harness.server is not None
    address = harness.server.listener.address
    if how == "silent with the key":
        with connection.Client(address, authkey=HARNESS_KEY) as conn:
            assert conn.poll(20)
            with pytest.raises((EOFError, ConnectionError)):
                conn.recv()
    else:
        with socket.create_connection(address, timeout=5) as sock:
            stop = threading.Event()
            if how == "dripping":
                sock.sendall(struct.pack("!i", 200))
                threading.Thread(target=drip, args=(sock, stop), daemon=True).start()
            assert is_hung_up(sock)
            stop.set()
    harness.end()


def test_who_has_answered_the_challenge_has_time_for_the_rest_however_many_strangers_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("master.server.HANDSHAKES", 2)
    harness = Harness(tmp_path, "manager")
    assert harness.server is not None
    address = harness.server.listener.address
    with contextlib.ExitStack() as opened:
        slow = opened.enter_context(wire.adopt(socket.create_connection(address), 5))
        connection.answer_challenge(slow, HARNESS_KEY)
        slow.send_bytes(b"#CHALLENGE#" + bytes(20))
        slow.recv_bytes()
        strangers = [opened.enter_context(socket.create_connection(address, timeout=5)) for _ in range(5)]
        for sock in strangers[:3]:
            assert is_hung_up(sock)
        slow.send_bytes(b"#WELCOME#")
        slow.send((None, "accept_connection", ("slow",), {}))
        assert slow.recv() == ("#RETURN", None)
    harness.end()


def drip(sock: socket.socket, stop: threading.Event) -> None:
    """Send a byte now and then."""
    while not stop.wait(0.1):
        try:
            sock.sendall(b"x")
        except OSError:
            return


# Holders of the key that mean harm


def test_a_message_that_claims_4_gb_is_refused_before_it_is_read(master: MasterProcess) -> None:
    assert master.process is not None
    before = psutil.Process(master.process.pid).memory_info().rss
    with authenticated(master) as conn:
        os.write(conn.fileno(), struct.pack("!i", -1) + struct.pack("!Q", 4 << 30) + b"x" * 100)
        assert conn.poll(5)
        with pytest.raises((EOFError, ConnectionError)):
            conn.recv()
    assert psutil.Process(master.process.pid).memory_info().rss - before < 50_000_000


def test_nothing_that_a_message_names_is_built(master: MasterProcess, tmp_path: Path) -> None:
    evil = Evil(tmp_path / "was here")
    with authenticated(master) as conn:
        conn.send(evil)
        with pytest.raises((EOFError, ConnectionError)):
            conn.recv()
    requests: list[Any] = [evil, ("queue", "submit", ([evil],), {}), ("task", "put", (evil,), {}), (None, "create", (evil,), {})]
    for request in requests:
        with authenticated(master) as conn:
            conn.send((None, "accept_connection", ("evil",), {}))
            assert conn.recv() == ("#RETURN", None)
            conn.send(request)
            kind, error = conn.recv()
            assert (kind, type(error)) == ("#ERROR", ValueError)
            assert "only plain data" in str(error)
            conn.send(("queue", "stats", (), {}))
            assert conn.recv()[0] == "#RETURN"
    assert not (tmp_path / "was here").exists()


@pytest.mark.parametrize(
    "request_",
    [
        (None, "shutdown", (), {}),
        (None, "debug_info", (), {}),
        (None, "number_of_objects", (), {}),
        (None, "get_methods", ("queue",), {}),
        (None, "create", ("dict",), {}),
        (None, "create", (["get_task_queue"],), {}),
        (None, "create", (), {}),
        (None, "serve_client", (), {}),
        (None, ["create"], ("get_task_queue",), {}),
        (None, "_do_once", ("create", ()), {}),
    ],
    ids=lambda request: f"{request[1]} {request[2]}",
)
def test_the_servers_own_methods_are_refused(master: MasterProcess, request_: tuple[Any, ...]) -> None:
    with authenticated(master) as conn, pytest.raises(ValueError, match="can be asked for here"):
        dispatch(conn, *request_)


@pytest.mark.parametrize("ident", ["queue", "task", "result", "0", None, ["task"]])
@pytest.mark.parametrize("method", ["shutdown", "__class__", "__init__", "_call", "mutex", "#GETVALUE", "__str__", None, ["put"]])
def test_no_other_method_of_an_object_can_be_reached(master: MasterProcess, ident: Any, method: Any) -> None:
    with authenticated(master) as conn:
        dispatch(conn, None, "accept_connection", ("name",))
        conn.send((ident, method, (), {}))
        kind, _ = conn.recv()
        assert kind == "#ERROR"


@pytest.mark.parametrize("request_", [None, 7, (), (1, 2), ("queue", "stats", None, {}), ("queue", "stats", (), []), "text"])
def test_what_is_no_request_is_refused(master: MasterProcess, request_: Any) -> None:
    with authenticated(master) as conn:
        dispatch(conn, None, "accept_connection", ("name",))
        conn.send(request_)
        assert conn.recv()[0] == "#ERROR"
        conn.send_bytes(b"no pickle at all")
        assert conn.recv()[0] == "#ERROR"
        conn.send_bytes(b"")
        assert conn.recv()[0] == "#ERROR"
        conn.send_bytes(pickle.dumps(("queue", "stats", (), {})))
        assert conn.recv()[0] == "#RETURN"


def test_only_plain_data_comes_back(master: MasterProcess) -> None:
    with pytest.raises(pickle.UnpicklingError, match=r"(os|posix)\.system"):
        wire.load(pickle.dumps(Evil(Path("never"))))
    assert wire.load(pickle.dumps({"a": [1, 2.5, None, True, b"x", ("y",)]})) == {"a": [1, 2.5, None, True, b"x", ("y",)]}


# Versions, and whoever else answers at an address


def test_another_protocol_version_is_told(master: MasterProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "PROTOCOL", 99)
    with pytest.raises(WrongVersion, match=f"speaks protocol {PROTOCOL}, this program 99; run the same release"):
        master.queue().connect()


def test_a_manager_that_is_not_taskyard_is_told() -> None:
    foreign = BaseManager(("127.0.0.1", 0), AUTHKEY)
    foreign.start()
    try:
        with pytest.raises(WrongVersion, match=r"does not speak Taskyard|not a Taskyard master"):
            RemoteQueue("manager://{}:{}".format(*foreign.address), AUTHKEY, 1.0).connect()  # type: ignore[misc]
    finally:
        foreign.shutdown()


@pytest.mark.parametrize(
    "greeting", [b"SSH-2.0-OpenSSH\r\n", b"\x00\x00\x00\x05hello", b""], ids=["ssh", "a message", "hangs up"]
)
def test_a_server_of_another_kind_is_unreachable_in_one_line(greeting: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            while True:
                try:
                    conn, _ = server.accept()
                except OSError:
                    return
                conn.sendall(greeting)
                conn.close()

        threading.Thread(target=greet, daemon=True).start()
        with pytest.raises((Unreachable, WrongVersion, WrongKey)) as caught:
            RemoteQueue(f"manager://127.0.0.1:{server.getsockname()[1]}", AUTHKEY, 0.3).connect()
        assert "\n" not in str(caught.value)
        server.shutdown(socket.SHUT_RDWR)


def test_nobody_at_the_address_is_one_clear_line_after_the_patience() -> None:
    port = free_port()
    started = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        RemoteQueue(f"manager://127.0.0.1:{port}", AUTHKEY, 0.4).connect()
    assert time.monotonic() - started < 4
    told = f"no master answers at manager://127.0.0.1:{port} (Connection refused); is it running, is the address right?"
    assert str(caught.value) == told


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "manager://", "manager://h:99999", "manager://[::1", "nonsense", ""])
def test_an_address_that_makes_no_sense_is_told(url: str) -> None:
    with pytest.raises(SettingsError, match="manager://HOST:PORT"):
        RemoteQueue(url, AUTHKEY)


def test_joining_takes_less_than_10_ms(master: MasterProcess) -> None:
    times = []
    for _ in range(21):
        started = time.perf_counter()
        with master.queue() as queue:
            queue.connect()
            times.append(time.perf_counter() - started)
    assert min(times) < 0.010  # a delay of the product, as of a TCP that waits for more to send, would be in each


def test_the_managers_own_class_gets_both_queues(master: MasterProcess) -> None:
    import queue

    manager = QueueManager(("127.0.0.1", master.port), AUTHKEY)
    manager.connect()
    tasks, results = manager.get_task_queue(), manager.get_result_queue()  # type: ignore[attr-defined]
    tasks.put({"n": [1, 2]})
    assert tasks.get(timeout=1) == {"n": [1, 2]}
    results.put("done")
    assert results.get() == "done"
    with pytest.raises(queue.Empty):
        tasks.get_nowait()
    with pytest.raises(ValueError, match="non-negative"):
        tasks.get(timeout=-1)


def test_a_server_that_is_closed_leaves_no_thread_and_no_descriptor_behind(tmp_path: Path) -> None:
    def live(number: int) -> None:
        harness = Harness(tmp_path / str(number), "manager")
        assert harness.another().stats()["ready"] == 0
        with pytest.raises(BadRequest):
            harness.another().results("job", -1, 1, 0)
        assert harness.server is not None
        manager = QueueManager(harness.server.listener.address, HARNESS_KEY)
        manager.connect()
        manager.get_task_queue().put("an item")  # type: ignore[attr-defined]
        harness.end()

    def counts() -> tuple[int, ...]:
        return len(list(Path("/proc/self/fd").iterdir())), threading.active_count()

    def settled() -> tuple[int, ...]:
        """The counts, once no thread of a server is still on its way out."""
        names = {thread.name for thread in threading.enumerate()}
        return () if names & {"accepter", "hangups"} else counts()

    live(0)
    gc.collect()
    before = wait_until(settled, "its threads have ended", 10)
    gc.disable()  # which may come late: no cycle is to hold them
    try:
        for number in range(1, 4):
            live(number)
        wait_until(lambda: all(now <= then for now, then in zip(counts(), before, strict=True)), f"no more than {before}", 10)
    finally:
        gc.enable()
