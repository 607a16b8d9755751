"""What those that mean harm send: connections by hand, requests of every kind, and values of every wrong kind."""

from __future__ import annotations

import hmac
import os
import pickle
import select
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

from taskyard.transport import IDENT
from tests.contract.master_process import AUTHKEY, MasterProcess

CHALLENGE, WELCOME = b"#CHALLENGE#", b"#WELCOME#"
HUGE = 10**5000
SECONDS = 15.0
"""Until a read gives up; the master hangs up on strangers earlier."""


class Named:
    """Its pickle names a global and has it called: here one that would end the master."""

    def __init__(self, call: Callable[..., Any], *args: Any) -> None:
        self._reduced = (call, args)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._reduced


def nested(depth: int) -> Any:
    """A list in a list in a list."""
    value: Any = []
    for _ in range(depth):
        value = [value]
    return value


def deep(ident: str, method: str, depth: int) -> bytes:
    """The pickle of a request with one argument that is nested so deep that no pickler would write it."""
    words = b"".join(b"\x8c" + bytes([len(word)]) + word.encode() for word in (ident, method))
    return b"\x80\x04(" + words + b"(" + b"]" * depth + b"a" * (depth - 1) + b"t}t."


def multiplied(times: int) -> Any:
    """A list of two lists of two lists: few bytes as a pickle, two to the power of ``times`` for whoever prints it."""
    value: Any = []
    for _ in range(times):
        value = [value, value]
    return value


WRONG: list[Any] = [
    None,
    True,
    -1,
    2**63,
    HUGE,
    -HUGE,
    1.5,
    float("nan"),
    float("inf"),
    "",
    "text",
    "\ud800",
    "x" * 100_000,
    "a\nb\x1b[31m\0",
    b"",
    b"bytes",
    bytearray(b"mutable"),
    [],
    [None],
    ["\ud800"],
    [[[]]],
    [(1, 2, 3)],
    [tuple(range(50))],
    (),
    {},
    {"a": 1},
    {1: {2: {3: ()}}},
    {1, 2},
    frozenset({"a"}),
    1j,
    nested(50),
    multiplied(40),
    Named(os.system, "kill $PPID"),
]
TASK = ("hostile-", 1, "hostile", "hostile", [b"p1", b"p2"], 0, 0, 0, 1, 0, 100, 0)
OUTCOME = ("hostile-", 1, 1, "done", [b"value"], "", -1.0, False)
SCHEDULE = ("hostile", "every 3000", "UTC", "latest", b"", 0, 0, 1.0, 0.0, 1.0, 0.0)
INFO = {"host": "h", "slots": 1, "busy": 0, "tasks": ["hostile"], "draining": False, "python": "3", "progress": {"a": (1, 2, "")}}
VERBS: list[tuple[str, tuple[Any, ...]]] = [
    ("hello", (4,)),
    ("submit", ([TASK],)),
    ("settle", ("hostile", [OUTCOME])),
    ("heartbeat", ("hostile", {**INFO, "schedules": [SCHEDULE]})),
    ("leave", ("hostile",)),
    ("cancel", (["hostile-1"],)),
    ("find", ("ready", "hostile", 10, 0)),
    ("show", (["hostile-1"], True)),
    ("running", ("hostile", 10)),
    ("jobs", ("hostile", 10, 0)),
    ("schedules", ()),
    ("retry", (["hostile-1"],)),
    ("forget", ("hostile",)),
    ("stats", ()),
    ("workers", ()),
    ("history", (0.0, 60.0)),
    ("kinds", ()),
    ("lease", ("hostile", 1, 0.01, ["hostile"])),
    ("results", ("hostile", 0, 10, 0.01)),
]
"""Each verb with arguments that make sense, for a job, a session and tasks of the attacker's own."""
QUEUE_CALLS: list[tuple[str, tuple[Any, ...]]] = [
    ("put", ({"item": [1]}, True, 0.01)),
    ("get", (True, 0.01)),
    ("put_nowait", ("item",)),
    ("get_nowait", ()),
    ("qsize", ()),
    ("empty", ()),
    ("full", ()),
]
REQUESTS: list[tuple[Any, ...]] = [
    *((IDENT, verb, args, {}) for verb, args in VERBS),
    *((ident, verb, args, {}) for ident in ("task", "result") for verb, args in QUEUE_CALLS),
    (None, "create", ("get_task_queue",), {}),
    (None, "accept_connection", ("again",), {}),
]


def framed(message: bytes, claimed: int | None = None) -> bytes:
    """A message behind its length, or behind another."""
    size = len(message) if claimed is None else claimed
    if -(2**31) <= size < 2**31:
        return struct.pack("!i", size) + message
    return struct.pack("!iQ", -1, size % 2**64) + message


class Attacker:
    """One connection, by hand; with ``latency`` what it hears of the master is so many seconds old."""

    def __init__(self, master: MasterProcess, latency: float = 0.0) -> None:
        self.sock = socket.create_connection(("127.0.0.1", master.port), timeout=SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._latency = latency

    def read(self) -> bytes:
        """One message. Raises EOFError, OSError."""
        (size,) = struct.unpack("!i", self._exactly(4))
        message = self._exactly(size)
        time.sleep(self._latency)
        return message

    def ask(self, request: Any) -> tuple[str, Any]:
        """Send what is pickled, return what is answered."""
        self.sock.sendall(framed(pickle.dumps(request)))
        return self.answer()

    def answer(self) -> tuple[str, Any]:
        """The next answer, unpickled."""
        kind, value = pickle.loads(self.read())
        return kind, value

    def is_answered(self, seconds: float) -> bool:
        """Whether the master says something, or hangs up, within so many seconds; what it says is thrown away."""
        if not select.select([self.sock], [], [], seconds)[0]:
            return False
        with suppress(ConnectionError):
            self.sock.recv(1_000_000)
        return True

    def is_hung_up_on(self) -> bool:
        """Wait until the master has closed the connection, whatever it says before. Raises TimeoutError."""
        with suppress(ConnectionError):
            while self.sock.recv(65536):
                pass
        return True

    def greet(self) -> Self:
        """The whole handshake."""
        self.sock.sendall(framed(self.response()))
        assert self.read() == WELCOME
        self.sock.sendall(framed(CHALLENGE + b"{md5}" + os.urandom(20)))
        self.read()
        self.sock.sendall(framed(WELCOME))
        return self

    def prove(self) -> Self:
        """The whole handshake, and that a conversation is wanted."""
        self.greet()
        assert self.ask((None, "accept_connection", ("attacker",), {})) == ("#RETURN", None)
        return self

    def response(self) -> bytes:
        """What proves the key to the master."""
        challenge = self.read().removeprefix(CHALLENGE)
        if challenge.startswith(b"{sha256}"):
            return b"{sha256}" + hmac.new(AUTHKEY, challenge, "sha256").digest()
        return hmac.new(AUTHKEY, challenge, "md5").digest()

    def send(self, data: bytes, pieces: int = 1) -> None:
        """Send bytes in so many pieces, as far as they are taken."""
        size = len(data) // pieces + 1
        with suppress(OSError):
            for start in range(0, len(data), size):
                self.sock.sendall(data[start : start + size])

    def close(self, reset: bool = False) -> None:
        """End it, in order or as if this side had died."""
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exactly(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self.sock.recv(size - len(data))
            if not more:
                raise EOFError
            data += more
        return data
