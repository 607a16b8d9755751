"""TLS beneath the queue's connections: tunnels, each from a TLS connection to a descriptor that the rest of the code works with.

```
    wire, talk: one end of a socketpair <--> the other end | End == End | TLS over TCP <--> the other host
```

One thread of this process, with an asyncio loop, has all tunnels; the queue's own code reads and writes plain descriptors.
"""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import socket
import ssl
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar, cast

from taskyard import wire

UNSENT_SECONDS = 30.0
"""What the other host does not take in for so long is given up, and the connection with it."""
READ_BYTES = 256 * 1024

logger = logging.getLogger("taskyard")
T = TypeVar("T")


# The loop


class _Process:
    """What this process has of it; a forked child has one of its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.selector: selectors.BaseSelector | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.sockets: set[socket.socket] = set()


_process = _Process()
_of_parents: list[_Process] = []
"""Kept in a forked child, since the end of such a loop would be told as a mistake."""


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop of this process, in a thread of its own."""
    with _process.lock:
        if _process.loop is None:
            _process.selector = selectors.DefaultSelector()
            _process.loop = asyncio.SelectorEventLoop(_process.selector)
            _process.loop.set_exception_handler(_note)
            threading.Thread(target=_process.loop.run_forever, name="tls", daemon=True).start()
        return _process.loop


def start(work: Coroutine[Any, Any, T]) -> Future[T]:
    """Have the loop do it."""
    return asyncio.run_coroutine_threadsafe(work, running_loop())


def _note(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    logger.debug("TLS: %s: %r", context.get("message"), context.get("exception"))


def _in_forked_child() -> None:
    global _process
    for sock in _process.sockets:  # else connections that the parent closes would stay open
        os.close(sock.detach())
    if _process.selector is not None:
        _process.selector.close()
    _of_parents.append(_process)
    _process = _Process()


os.register_at_fork(after_in_child=_in_forked_child)


# Tunnels


class End(asyncio.Protocol):
    """One end of a tunnel: what comes in here goes out at the ``other``, no faster than that takes it, and both end together."""

    transport: asyncio.Transport

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.other: End | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self.transport = cast(asyncio.Transport, transport)
        _process.sockets.add(self._sock)

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        _process.sockets.discard(self._sock)
        if self.other is not None:
            self.other.close()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        if self.other is not None:
            self.other.write(data)

    def eof_received(self) -> None:
        """See `asyncio.Protocol`; nobody closes one direction only."""
        if self.other is not None:
            self.other.close()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        if self.other is not None and not self.other.transport.is_closing():
            self.other.transport.resume_reading()

    def write(self, data: bytes) -> None:
        """Send it from here."""
        if not self.transport.is_closing():
            self.transport.write(data)

    def close(self) -> None:
        """End it once all is sent."""
        self.transport.close()


class TlsEnd(End):
    """The end at the other host; as the client if there is a ``name`` to check.

    asyncio's own TLS transport would do, but when a handshake fails it closes without telling the other side why.
    """

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str | None) -> None:
        super().__init__(sock)
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_side=name is None, server_hostname=name)
        self._is_client = name is not None
        self._shaken = False
        loop = asyncio.get_running_loop()
        self.ready: asyncio.Future[None] = loop.create_future()
        """Done once the other side has passed the handshake, which a client knows by the server's first word, or has failed."""
        self._alarm = loop.call_later(wire.HANDSHAKE_SECONDS, self._fail, TimeoutError("no TLS handshake in time"))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._turn()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._received.write(data)
        self._turn()

    def eof_received(self) -> None:
        """See `asyncio.Protocol`."""
        self._fail(EOFError())

    def connection_lost(self, error: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._end(error or EOFError())
        super().connection_lost(error)

    def write(self, data: bytes) -> None:
        """Send it from here."""
        left = memoryview(data)
        try:
            while left and not self.transport.is_closing():
                left = left[self._tls.write(left) :]
        except ssl.SSLError as error:
            self._fail(error)
        self._flush()

    def close(self) -> None:
        """End it once all is sent."""
        if not self.transport.is_closing():
            with suppress(ssl.SSLError):  # the other side's goodbye is not waited for
                self._tls.unwrap()
            self._flush()
            self.transport.close()

    def _turn(self) -> None:
        """Make of what has come what there is to be made of it."""
        data = []
        try:
            if not self._shaken:
                self._tls.do_handshake()
                self._shaken = True
                if not self._is_client:
                    self._end(None)
            while chunk := self._tls.read(READ_BYTES):
                data.append(chunk)
            self._fail(EOFError())
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._fail(error)
        self._flush()
        if data:
            self._end(None)
            super().data_received(b"".join(data))

    def _flush(self) -> None:
        if self._to_send.pending:
            super().write(self._to_send.read())

    def _end(self, error: Exception | None) -> None:
        """The handshake's."""
        self._alarm.cancel()
        if self.ready.done():
            return
        if error is None:
            self.ready.set_result(None)
        else:
            self.ready.set_exception(error)
            self.ready.exception()  # it need not be asked for

    def _fail(self, error: Exception) -> None:
        self._end(error)
        self._flush()  # an alert
        self.close()


async def couple(sock: socket.socket, context: ssl.SSLContext, name: str | None = None) -> socket.socket:
    """The near end of a tunnel over a TCP connection, whose other side has passed the handshake; as the client of the server
    ``name``, or as the server. Raises OSError, EOFError."""
    loop = asyncio.get_running_loop()
    try:
        wire.tune(sock)
        wire.give_up_after(sock, UNSENT_SECONDS)
        near, far = socket.socketpair()
    except OSError:
        sock.close()
        raise
    inner, outer = End(far), TlsEnd(sock, context, name)
    try:
        await loop.connect_accepted_socket(lambda: inner, far)  # first, so that there is somewhere to put the first word
    except BaseException:
        for one in (near, far, sock):
            one.close()
        raise
    try:
        outer.other = inner
        await loop.connect_accepted_socket(lambda: outer, sock)
        inner.other = outer
        await outer.ready
    except BaseException:
        near.close()  # which ends the others
        raise
    return near
