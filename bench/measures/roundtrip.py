"""The idle round trip, and the bare cost of what a durable one needs: two fsyncs, and four calls of a manager's proxy."""

from __future__ import annotations

import os
import socket
import time
from multiprocessing import connection
from multiprocessing.managers import BaseManager
from pathlib import Path
from typing import Any, Self

from bench.fresh import Call
from bench.measures import Point, scaled
from bench.measures.rates import points_of
from bench.systems import OURS, STANDARD
from bench.systems.session import percentiles

TRIPS = 500
APPENDED = b"x" * 200


def points(scale: float) -> list[Point]:
    """The systems, and the bare cost."""
    trips = scaled(TRIPS, scale)
    bare = Point("bare", Call("bench.measures.roundtrip:bare", {"trips": trips}), {"system": "two fsyncs, four proxy calls"})
    return [*points_of((OURS, *STANDARD), scale, trips, rates=False), bare]


def bare(folder: Path, trips: int) -> dict[str, Any]:
    """Milliseconds of two appends with fsync, of four proxy calls over loopback without delay, and of both together."""
    with Manager(address=("127.0.0.1", 0), authkey=b"bare") as manager, (folder / "appended").open("ab", 0) as file:
        echo = manager.echo()  # type: ignore[attr-defined]
        echo.give(0)
        send_at_once(echo._tls.connection)
        for n in range(TRIPS // 10):
            echo.give(n)
        fsyncs, calls = [], []
        for n in range(trips):
            begun = time.perf_counter()
            for _ in range(2):
                file.write(APPENDED)
                os.fsync(file.fileno())
            between = time.perf_counter()
            for _ in range(4):
                echo.give(n)
            fsyncs.append(1000 * (between - begun))
            calls.append(1000 * (time.perf_counter() - between))
    both = [sum(pair) for pair in zip(fsyncs, calls, strict=True)]
    return {"trips": percentiles(both), "fsyncs": percentiles(fsyncs), "calls": percentiles(calls)}


class Echo:
    """Served by the manager."""

    def give(self, n: int) -> int:
        """What it was given."""
        return n


class Manager(BaseManager):
    """A plain one, but that both ends of its connections send at once."""

    def __enter__(self) -> Self:
        self.start(_let_listeners_send_at_once)
        return self


Manager.register("echo", Echo, exposed=("give",))


def _let_listeners_send_at_once() -> None:
    """In the manager's process: there is no official place to reach the connections that it accepts."""
    listener: Any = connection.SocketListener  # type: ignore[attr-defined]
    accept = listener.accept

    def accept_and_set(self: Any) -> Any:
        accepted = accept(self)
        send_at_once(accepted)
        return accepted

    listener.accept = accept_and_set


def send_at_once(conn: Any) -> None:
    """Set TCP_NODELAY."""
    with socket.socket(fileno=os.dup(conn.fileno())) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
