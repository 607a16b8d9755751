"""A connection to NATS for callers that wait: one background thread has nats-py's loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import re
import ssl
import threading
from collections.abc import Callable, Coroutine
from time import monotonic
from typing import Any, TypeVar

import nats
from nats.aio.client import Client
from nats.js import JetStreamContext

from taskyard.errors import Unreachable, WrongCertificate, WrongKey
from taskyard.urls import NatsUrl

CONNECT_SECONDS = 2.0
"""For one server; then the next one is tried."""
PAUSE_SECONDS = 0.2
"""Between two rounds of all servers."""
LOOK_SECONDS = 0.2
"""So often who waits for NATS looks whether to go on waiting."""
PING_SECONDS, PINGS = 1, 2
"""A server that is cut off is found out after so many unanswered questions; then the next one is tried."""
T = TypeVar("T")
logger = logging.getLogger("taskyard")


class Broker:
    """Connected to one of the servers of ``url`` from `open` on, and again by itself whenever the connection breaks.

    ``password``: asked at each connection, since it may change. Not to be used by a forked child.
    """

    def __init__(self, url: NatsUrl, user: str, password: Callable[[], str], context: ssl.SSLContext | None = None) -> None:
        self.servers = ", ".join(url.servers)
        self.client = Client()
        self._urls = [f"{'nats' if context is None else 'tls'}://{server}" for server in url.servers]
        self._user = user
        # Not that of all, lest a client hears what masters are answered (deploy/nats/node.conf).
        self._inbox = f"_INBOX_{re.sub(r'[^A-Za-z0-9]', '_', user)}".encode()
        self._password = password
        self._context = context
        self._begun = False
        self._refused = ""
        """Why no server lets this program in."""
        self._trouble = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="taskyard-nats", daemon=True)
        self._thread.start()

    def open(self, seconds: float) -> JetStreamContext:
        """Connect within so many seconds, if that was not done yet. Raises `WrongKey`, `WrongCertificate`, `Unreachable`."""
        self._refused = ""
        try:
            if not self.client.is_connected:
                self._begun = True
                self.run(self._connect(), seconds)
        except (TimeoutError, concurrent.futures.TimeoutError, nats.errors.Error, OSError):
            self._raise_refusal()
            why = f" ({self._trouble})" if self._trouble else ""
            raise Unreachable(f"no NATS server answers at {self.servers}{why}; is it running, is the address right?") from None
        return self.client.jetstream(timeout=CONNECT_SECONDS)

    def run(self, work: Coroutine[Any, Any, T], seconds: float | None = None, stopped: threading.Event | None = None) -> T:
        """What a coroutine returns or raises; TimeoutError after so many seconds, or once ``stopped`` is set."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        deadline = math.inf if seconds is None else monotonic() + seconds
        while True:
            try:
                return future.result(None if stopped is None and seconds is None else min(deadline - monotonic(), LOOK_SECONDS))
            except concurrent.futures.TimeoutError:
                if future.done():
                    raise  # its own
                if monotonic() >= deadline or (stopped is not None and stopped.is_set()):
                    future.cancel()
                    raise

    def close(self) -> None:
        """End the connection and the thread."""
        try:
            if self._begun:  # else nats-py refuses to close it
                self.run(self.client.close(), CONNECT_SECONDS)
        except (TimeoutError, concurrent.futures.TimeoutError, nats.errors.Error, OSError):
            pass  # nobody hears it
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _raise_refusal(self) -> None:
        if "certificate" in self._refused:
            raise WrongCertificate(f"NATS at {self.servers}: {self._refused}")
        if self._refused:
            raise WrongKey(f"NATS at {self.servers} does not let user {self._user!r} in: give it the password that NATS knows")

    async def _connect(self) -> None:
        connecting = asyncio.ensure_future(
            self.client.connect(
                self._urls,
                user=self._user,
                password=self._password,
                tls=self._context,
                name=f"taskyard {self._user}",
                inbox_prefix=self._inbox,
                connect_timeout=CONNECT_SECONDS,  # type: ignore[arg-type]
                reconnect_time_wait=PAUSE_SECONDS,  # type: ignore[arg-type]
                max_reconnect_attempts=-1,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=PINGS,
                error_cb=self._note_trouble,
            )
        )
        try:
            while not connecting.done() and not self._refused:
                await asyncio.wait([connecting], timeout=0.05)
        finally:
            if not connecting.done():
                connecting.cancel()
        if self._refused:
            raise nats.errors.AuthorizationError
        await connecting

    async def _note_trouble(self, error: Exception) -> None:
        words = str(error) or type(error).__name__
        if "authorization" in words.lower() or "authentication" in words.lower():
            self._refused = words
        elif isinstance(error, ssl.SSLCertVerificationError):
            self._refused = f"its certificate is not one to trust ({error.verify_message})"
        self._trouble = words
        logger.debug("NATS at %s: %s", self.servers, words)
