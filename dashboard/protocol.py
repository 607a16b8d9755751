"""HTTP/1.1 as the server speaks it, but for who comes and says nothing, or says it a byte at a time."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

CONNECTIONS = 500
"""At a time, websockets among them."""
HEAD_SECONDS = 10.0
"""In which the first line and the headers of a request have to be there."""


class BoundedProtocol(H11Protocol):
    """One connection. When there are too many, the one that has been without a request for longest gives way."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._late: asyncio.TimerHandle | None = None
        self._since = monotonic()
        """When it began to be without a request, while it is."""

    @property
    def waits(self) -> bool:
        """Whether it is without a request."""
        return self._late is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Let it in, and let another one go if there are too many."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._watch()
        if len(self.connections) > CONNECTIONS:
            waiting = [one for one in self.connections if isinstance(one, BoundedProtocol) and one.waits]
            min(waiting, key=lambda one: one._since).give_way()  # there is one at least: this

    def give_way(self) -> None:
        """Close it; nothing was asked that could be answered."""
        self._unwatch()
        self.connections.discard(self)
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Take what it sends."""
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """Go on to its next request."""
        super().on_response_complete()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._unwatch()
        super().connection_lost(exc)

    def _watch(self) -> None:
        here = self in self.connections  # else it has become a websocket
        if not here or self.transport.is_closing() or (self.cycle is not None and not self.cycle.response_complete):
            self._unwatch()
        elif self._late is None:
            self._since = monotonic()
            self._late = self.loop.call_later(HEAD_SECONDS, self.give_way)

    def _unwatch(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None
