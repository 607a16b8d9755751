"""A connection to NATS for callers that wait: one background thread has nats-py's loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import math
import random
import re
import ssl
import threading
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from time import monotonic
from typing import Any, TypeVar, cast

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.js import JetStreamContext

from taskyard.errors import SettingsError, TaskyardError, Unreachable, WrongCertificate, WrongKey
from taskyard.urls import NatsUrl

CONNECT_SECONDS = 2.0
"""For each step of a connection to one server; then the next one is tried."""
PAUSE_SECONDS, REFUSED_SECONDS = 0.2, 2.0
"""Between two rounds of all servers; after one in which none has let this program in."""
LOOK_SECONDS, LOST_LOOK_SECONDS = 0.2, 0.1
"""So often who waits for NATS looks whether to go on waiting; and whether the connection still stands."""
PING_SECONDS, PINGS = 1, 2
"""A server that is cut off is found out after so many unanswered questions; then the next one is tried."""
Hear = Callable[[Msg], Awaitable[None]]
T = TypeVar("T")
logger = logging.getLogger("taskyard")
# At the end of each connection over TLS asyncio warns of how nats-py reads it, which concerns nobody else.
logging.getLogger("asyncio").addFilter(lambda record: "eof_received()" not in record.getMessage())


class Broker:
    """Connected to one of the servers of ``url`` from `open` on, and again by itself whenever the connection breaks.

    ``password``: asked at each connection, since it may change; while it can't be told (`SettingsError`) the last one counts.
    Not to be used by a forked child.
    """

    # Each connection has a client of its own. A client of nats-py that is to reconnect by itself gives up at most errors that a
    # server tells, for instance that its password is another one now, and at errors of what is asked for the password.

    def __init__(self, url: NatsUrl, user: str, password: Callable[[], str], context: ssl.SSLContext | None = None) -> None:
        self.servers = ", ".join(url.servers)
        self.client = Client()
        """That of the present connection, or of the last one."""
        self._urls = [f"{'nats' if context is None else 'tls'}://{server}" for server in url.servers]
        self._user = user
        # Not that of all, lest a client hears what masters are answered (deploy/nats/server.conf).
        self._inbox = f"_INBOX_{re.sub(r'[^A-Za-z0-9]', '_', user)}".encode()
        self._password = password
        self._last_password: str | None = None
        self._context = context
        self._hearing: dict[str, Hear] = {}
        """What was subscribed, by subject."""
        self._subscriptions: dict[str, Subscription] = {}
        """Those of the present client."""
        self._was_let_in = False
        self._trouble = ""
        """Why the last round has found no server."""
        self._refusal: TaskyardError | None = None
        """Set if all servers have refused in it."""
        self._keeping: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="taskyard-nats", daemon=True)
        self._thread.start()

    def open(self, seconds: float) -> JetStreamContext:
        """Be connected within so many seconds; returns what is good for all connections to come. Raises `Unreachable`.

        And as long as no server has ever let this program in: `WrongKey` or `WrongCertificate` if each of them refuses to,
        `SettingsError`. Later on a password may be about to be changed: that is `Unreachable`.
        """
        if not self.client.is_connected:
            try:
                self.run(self._wait_until_open(), seconds)
            except (TimeoutError, concurrent.futures.TimeoutError):
                why = f" ({self._trouble})" if self._trouble else ""
                raise Unreachable(
                    f"no NATS server answers at {self.servers}{why}; is it running, is the address right?"
                ) from None
        return self.jetstream(CONNECT_SECONDS)

    def jetstream(self, seconds: float) -> JetStreamContext:
        """JetStream over this connection and those to come, each answer within so many seconds."""
        return JetStreamContext(cast(Client, _Present(self)), timeout=seconds)

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

    def subscribe(self, subject: str, hear: Hear, seconds: float) -> None:
        """Hear what is said on a subject, over this connection and those to come. Raises TimeoutError, `nats.errors.Error`."""
        self.run(self._subscribe(subject, hear), seconds)

    def unsubscribe(self, subject: str, seconds: float) -> None:
        """Hear no more of it. Raises TimeoutError, `nats.errors.Error`."""
        self.run(self._unsubscribe(subject), seconds)

    def close(self) -> None:
        """End the connection and the thread."""
        try:
            self.run(self._end(), CONNECT_SECONDS)
        except (TimeoutError, concurrent.futures.TimeoutError, nats.errors.Error, OSError):
            pass  # nobody hears it
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        if left:
            self._loop.run_until_complete(asyncio.wait(left, timeout=1.0))
        self._loop.close()

    # In its thread

    async def _wait_until_open(self) -> None:
        if self._keeping is None:
            self._keeping = asyncio.ensure_future(self._keep_connected())
        while not self.client.is_connected:
            if self._refusal is not None and not self._was_let_in:
                raise type(self._refusal)(*self._refusal.args)
            await asyncio.sleep(0.02)

    async def _keep_connected(self) -> None:
        last = ""
        while True:
            refused: list[TaskyardError] = []
            trouble: list[str] = []
            for url in sorted(random.sample(self._urls, len(self._urls)), key=last.__eq__):  # the one that was lost comes last
                began = monotonic()
                try:
                    await self._connect(url)
                except Exception as error:  # whatever it is: the next one may be better
                    why = error.__cause__ or error
                    trouble.append(f"{url.partition('//')[2]}: {str(why) or type(why).__name__}")
                    logger.debug("NATS at %s", trouble[-1])
                    if isinstance(error, TaskyardError):
                        refused.append(error)
                else:
                    last = url
                    while self.client.is_connected:
                        await asyncio.sleep(LOST_LOOK_SECONDS)
                    logger.debug("NATS at %s: the connection is lost", url)
                    if monotonic() - began > 2 * PAUSE_SECONDS:
                        break
            else:
                self._trouble = "; ".join(dict.fromkeys(trouble))
                self._refusal = refused[0] if len(refused) == len(self._urls) else None
                await asyncio.sleep(REFUSED_SECONDS if self._refusal else PAUSE_SECONDS)

    async def _connect(self, url: str) -> None:
        """Connect to this server, and hear what was subscribed. Raises `WrongKey` or `WrongCertificate` if it refuses this
        program, `SettingsError`, and what nats-py does."""
        client, told = Client(), asyncio.get_running_loop().create_future()

        async def note(error: Exception) -> None:
            if told.done():
                logger.debug("NATS at %s: %s", url, error)
            else:
                told.set_result(error)

        connecting = asyncio.ensure_future(
            client.connect(
                [url],
                user=self._user,
                password=self._current_password(),
                tls=self._context,
                name=f"taskyard {self._user}",
                inbox_prefix=self._inbox,
                connect_timeout=CONNECT_SECONDS,  # type: ignore[arg-type]
                allow_reconnect=False,
                ping_interval=PING_SECONDS,
                max_outstanding_pings=PINGS,
                error_cb=note,
            )
        )
        try:
            # Its first error ends it, lest it tries again by itself.
            await asyncio.wait((connecting, told), return_when=asyncio.FIRST_COMPLETED)
            failed = told.result() if told.done() else connecting.exception()
            if failed is not None:
                raise self._meaning_of(failed) from failed
        except BaseException:
            connecting.cancel()
            closing = asyncio.ensure_future(_close(client))  # not waited for: it may have to wait for a server that is frozen
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            raise
        self.client, self._was_let_in, self._refusal = client, True, None
        self._subscriptions = {}
        for subject in list(self._hearing):
            self._subscriptions[subject] = await client.subscribe(subject, cb=self._hearing[subject])

    def _current_password(self) -> str:
        try:
            self._last_password = self._password()
        except SettingsError:
            if self._last_password is None:
                raise
        return self._last_password

    def _meaning_of(self, error: BaseException) -> BaseException:
        """What an error of a connection means to its user."""
        words = (str(error) or type(error).__name__).lower()
        if isinstance(error, ssl.SSLCertVerificationError):
            return WrongCertificate(f"NATS at {self.servers}: its certificate is not one to trust ({error.verify_message})")
        if ("authorization" in words or "authentication" in words) and "timeout" not in words:
            return WrongKey(f"NATS at {self.servers} does not let user {self._user!r} in: give it the password that NATS knows")
        return error

    async def _subscribe(self, subject: str, hear: Hear) -> None:
        self._hearing[subject] = hear
        if self.client.is_connected:
            self._subscriptions[subject] = await self.client.subscribe(subject, cb=hear)

    async def _unsubscribe(self, subject: str) -> None:
        self._hearing.pop(subject, None)
        made = self._subscriptions.pop(subject, None)
        if made is not None:
            await made.unsubscribe()

    async def _end(self) -> None:
        if self._keeping is not None:
            self._keeping.cancel()
        if self._was_let_in:
            await self.client.close()


async def _close(client: Client) -> None:
    with suppress(Exception):
        await asyncio.wait_for(client.close(), CONNECT_SECONDS)


class _Present:
    """The present client, to those that were given one for good."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker.client, name)
