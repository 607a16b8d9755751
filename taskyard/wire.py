"""Connections of the queue's port: plain data only, bounded messages, no delay.

A listener/client pair for ``multiprocessing.managers``. What travels is what its own 'pickle' serializer sends, so that
programs written against the standard library connect too; what arrives is unpickled without any global, so that
nobody can make this side run code.
"""

from __future__ import annotations

import io
import math
import os
import pickle
import queue  # noqa: F401 - its exceptions come by name
import socket
import struct
import sys
from collections.abc import Callable
from multiprocessing import connection
from multiprocessing.managers import listener_client  # type: ignore[attr-defined]
from time import monotonic
from typing import Any, cast

SERIALIZER = "taskyard"
HANDSHAKE_SECONDS = 5.0
HANDSHAKE_BYTES = 256
SILENT_SECONDS = 15
"""A connection is over when for so long the other host acknowledges nothing, or has no room for what waits to be sent."""
MESSAGE_BYTES = 64 * 1024 * 1024
"""Bound of one message unless the master's payload bound asks for more; batches are cut far below it."""


class PlainUnpickler(pickle.Unpickler):
    """Unpickles numbers, text, bytes, None, lists, tuples, dicts and sets, and nothing else."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"only plain data is taken here, not {module}.{name}")


ERROR_MODULES = ("builtins", "queue", "_queue")


def load(data: bytes) -> Any:
    """Plain data from its pickle. Raises UnpicklingError for anything else, and whatever garbage makes an unpickler raise."""
    return PlainUnpickler(io.BytesIO(data)).load()


class ReplyUnpickler(PlainUnpickler):
    """Takes the standard library's exceptions too, in which a server tells what it refused."""

    def find_class(self, module: str, name: str) -> Any:
        found = getattr(sys.modules[module], name, None) if module in ERROR_MODULES else None
        if isinstance(found, type) and issubclass(found, Exception):
            return found
        return super().find_class(module, name)


class PlainConnection(connection.Connection):  # type: ignore[misc,unused-ignore]
    """A socket's connection whose ``recv`` takes plain data of a bounded size."""

    max_bytes = HANDSHAKE_BYTES
    gone = False
    """Whether the other side was seen to close it while nothing was read from it."""
    deadline = math.inf
    """Monotonic seconds after which nothing more is read: a stranger may not send a byte now and then for ever."""

    def recv(self) -> Any:
        """The next message. Raises EOFError, OSError (also for a message over ``max_bytes``), UnpicklingError."""
        return load(self.recv_bytes())

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """One message's bytes; the bound of this connection holds where the caller gives none."""
        return super().recv_bytes(self.max_bytes if maxlength is None else maxlength)

    def _recv(self, size: int, *_: Any) -> Any:
        read = os.read if self.deadline == math.inf else self._read_in_time
        return super()._recv(size, read)  # type: ignore[misc,unused-ignore]

    def _read_in_time(self, handle: int, size: int) -> bytes:
        if monotonic() >= self.deadline:
            raise TimeoutError("it took too long to prove its key")
        return os.read(handle, size)

    def send(self, obj: Any) -> None:
        """Send plain data; the standard pickler is five times as fast as the one that ``multiprocessing`` uses."""
        self.send_bytes(pickle.dumps(obj, protocol=5))

    def peer_is_gone(self) -> bool:
        """Whether the other side, which has no reason to speak now, has closed the connection."""
        try:
            return self.poll(0)
        except (OSError, ValueError, TypeError):  # the last two: closed just now by another thread
            return True


class ClientConnection(PlainConnection):
    """The side that asks; see `ReplyUnpickler`."""

    def recv(self) -> Any:
        """The next message. Raises EOFError, OSError (also for a message over ``max_bytes``), UnpicklingError."""
        return ReplyUnpickler(io.BytesIO(self.recv_bytes())).load()


def adopt(sock: socket.socket, timeout: float, kind: type[PlainConnection] = PlainConnection) -> PlainConnection:
    """A connection over a connected socket, each of its reads and writes bounded by ``timeout`` seconds."""
    sock.setblocking(True)
    tune(sock)
    made = kind(sock.detach())
    bound_waits(made, timeout)
    return made


def tune(sock: socket.socket) -> None:
    """Let a TCP connection send at once, and notice a host that is gone; the near end of a tunnel (`taskyard.tunnel`) is none."""
    if sock.family == socket.AF_UNIX:
        return
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # Keepalive asks only while nothing is under way; what is under way from an address that is gone would be tried for minutes.
    silence = SILENT_SECONDS * 1000
    for option, value in (("TCP_KEEPIDLE", 10), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3), ("TCP_USER_TIMEOUT", silence)):
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


def give_up_after(sock: socket.socket, seconds: float) -> None:
    """Let a TCP connection end when the other host takes nothing in for so long."""
    if sock.family != socket.AF_UNIX and hasattr(socket, "TCP_USER_TIMEOUT"):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(1000 * seconds))


def bound_waits(conn: PlainConnection, reads: float, writes: float = HANDSHAKE_SECONDS) -> None:
    """Let ``conn`` raise BlockingIOError when a read or a write makes no way for so many seconds; 0 waits for ever."""
    with _borrowed(conn) as sock:
        for option, seconds in ((socket.SO_RCVTIMEO, reads), (socket.SO_SNDTIMEO, writes)):
            sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("ll", int(seconds), int(seconds % 1 * 1e6)))


def shut_down(conn: PlainConnection) -> None:
    """End a connection that another thread may be reading: it sees EOF at once, and closes it itself."""
    try:
        with _borrowed(conn) as sock:
            sock.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # closed already


def _borrowed(conn: PlainConnection) -> socket.socket:
    # A socket object closes the descriptor that it was given, so it gets a copy.
    return socket.socket(fileno=os.dup(conn.fileno()))


class PlainListener:
    """Listens on a TCP port and hands out `PlainConnection` that are still to prove that they hold the key."""

    def __init__(self, address: tuple[str, int], backlog: int = 512) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.create_server(address, family=family, backlog=max(backlog, 512))
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.last_accepted = None

    def accept(self) -> PlainConnection:
        """The next connection. Raises OSError when the listener is closed or no descriptor is left."""
        conn = adopt(self._socket.accept()[0], HANDSHAKE_SECONDS)
        conn.deadline = monotonic() + HANDSHAKE_SECONDS
        return conn

    def close(self) -> None:
        """Stop listening; a blocked `accept` raises OSError."""
        try:
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()


def open_connection(
    address: tuple[str, int],
    authkey: bytes,
    timeout: float = HANDSHAKE_SECONDS,
    secure: Callable[[socket.socket], socket.socket] = lambda sock: sock,
) -> PlainConnection:
    """Connect within ``timeout`` seconds, then prove to each other that both hold ``authkey``. ``secure``: what is to be used
    in place of the TCP connection (`taskyard.tls.open_tunnel`).

    Raises OSError, EOFError (nobody there, or nobody who speaks this protocol), `multiprocessing.AuthenticationError`, and
    what ``secure`` does.
    """
    conn = adopt(secure(socket.create_connection(address, timeout=timeout)), HANDSHAKE_SECONDS, ClientConnection)
    try:
        connection.answer_challenge(conn, authkey)
        connection.deliver_challenge(conn, authkey)
    except AssertionError:  # what Python 3.11 makes of another greeting than a challenge
        conn.close()
        raise ConnectionError("it speaks another protocol") from None
    except BaseException:
        conn.close()
        raise
    return conn


def _client(address: tuple[str, int], authkey: bytes | None = None) -> PlainConnection:
    conn = open_connection(address, cast(bytes, authkey))
    conn.max_bytes = MESSAGE_BYTES
    bound_waits(conn, 0, 0)
    return conn


listener_client[SERIALIZER] = (PlainListener, _client)
