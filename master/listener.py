"""The port's listener where it speaks TLS: hands out connections that have passed the handshake."""

from __future__ import annotations

import asyncio
import queue
import socket
import ssl
from time import monotonic
from typing import cast

from master.doorstep import Refusals
from taskyard import tunnel, wire

HANDSHAKES = 256
"""Connections that may be at their handshake, or wait to be accepted after it; at one more, the one that has been at its
handshake for longest gives way. While all wait to be accepted, more wait in the system's backlog."""
RETRY_SECONDS = 0.2
"""Until another connection is accepted after one could not be, such as when no descriptor is left."""


class TlsListener:
    """As `taskyard.wire.PlainListener`, over TLS as ``context`` says."""

    def __init__(self, address: tuple[str, int], backlog: int = 512, *, context: ssl.SSLContext) -> None:
        family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self._socket = socket.create_server(address, family=family, backlog=max(backlog, 512))
        self._socket.setblocking(False)
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.last_accepted = None
        self._context = context
        self._room = asyncio.Semaphore(HANDSHAKES)
        self._ready: queue.SimpleQueue[socket.socket | OSError] = queue.SimpleQueue()
        self._refusals = Refusals()
        self._closed = False
        self._serving: asyncio.Task[None] | None = None
        self._shaking: dict[asyncio.Task[None], None] = {}  # the one that has been at it for longest first
        tunnel.start(self._begin()).result()

    def accept(self) -> wire.PlainConnection:
        """The next connection. Raises OSError when the listener is closed or no descriptor is left."""
        if self._closed:
            raise OSError("the listener is closed")
        got = self._ready.get()
        if isinstance(got, OSError):
            raise got
        tunnel.running_loop().call_soon_threadsafe(self._room.release)
        conn = wire.adopt(got, wire.HANDSHAKE_SECONDS)
        conn.deadline = monotonic() + wire.HANDSHAKE_SECONDS
        return conn

    def close(self) -> None:
        """Stop listening; a blocked `accept` raises OSError."""
        if not self._closed:
            self._closed = True
            tunnel.start(self._end()).result()

    async def _begin(self) -> None:
        self._serving = asyncio.get_running_loop().create_task(self._serve())

    async def _end(self) -> None:
        tasks = [*filter(None, [self._serving]), *self._shaking]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._socket.close()
        while not self._ready.empty():
            if isinstance(left := self._ready.get(), socket.socket):
                left.close()
        self._ready.put(OSError("the listener is closed"))

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, _ = await loop.sock_accept(self._socket)
            except OSError as error:
                if self._ready.empty():
                    self._ready.put(error)
                await asyncio.sleep(RETRY_SECONDS)
                continue
            try:
                if self._room.locked() and self._shaking:
                    longest = next(iter(self._shaking))
                    del self._shaking[longest]
                    longest.cancel()
                await self._room.acquire()
            except BaseException:
                sock.close()
                raise
            self._shaking[loop.create_task(self._shake_hands(sock))] = None
            await asyncio.sleep(0)  # it begins: a task that is cancelled before would leave the socket open

    async def _shake_hands(self, sock: socket.socket) -> None:
        try:
            near = await tunnel.couple(sock, self._context)
        except BaseException as error:
            self._room.release()
            if not isinstance(error, Exception):  # it gives way: of these there may be thousands a second
                raise
            self._refusals.tell(_why(error))
        else:
            self._ready.put(near)
        finally:
            self._shaking.pop(cast(asyncio.Task[None], asyncio.current_task()), None)


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {(error.reason or str(error)).replace('_', ' ').lower()}"
    return "TLS: it hung up" if isinstance(error, EOFError) else f"TLS: {error}"
