"""Finds the master that leads, where the queue has several: NATS is asked, and tells when it is another one."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Callable
from os import getpid
from time import monotonic
from typing import Any

import nats.errors

from taskyard import wire
from taskyard.broker import Broker
from taskyard.errors import Unreachable
from taskyard.urls import NatsUrl, parse_nats_url

Address = tuple[str, int]
FRESH_SECONDS = 1.2
"""What a leader said of itself (`master.replica.lead` has it say so twice a second) is true for so long."""
LISTEN_SECONDS = 5.0
"""More than NATS's thread needs to take note of what is to be heard."""


def where_subject(queue: str) -> str:
    """On which the leader is asked for its address."""
    return f"{queue}.where"


def leads_subject(queue: str) -> str:
    """On which the leader says again and again that it leads, and where."""
    return f"{queue}.leads"


class Finder:
    """Asks NATS at ``url`` as ``user``. Connections given to `watch` are shut down as soon as another master leads."""

    def __init__(self, url: NatsUrl, user: str, password: Callable[[], str], context: ssl.SSLContext | None) -> None:
        self._queue = url.queue
        self._broker = Broker(url, user, password, context)
        self._lock = threading.Lock()
        """Held for no longer than a moment: NATS's thread takes it too."""
        self._revision = 0
        self._found: Address | None = None
        self._heard = 0.0
        self._watched: dict[wire.PlainConnection, Address] = {}
        self.users = 0
        self._broker.subscribe(leads_subject(url.queue), self._hear, LISTEN_SECONDS)  # once it is connected

    def find(self, seconds: float) -> Address:
        """The address of the master that leads. Raises OSError when nobody tells one in time, `taskyard.errors.WrongKey`."""
        found = self._found
        if found is None or monotonic() - self._heard > FRESH_SECONDS:
            try:
                self._broker.open(max(1.0, seconds))
                answer = self._broker.run(self._broker.client.request(where_subject(self._queue), b"", seconds), seconds + 1)
            except Unreachable as error:
                raise ConnectionError(str(error)) from None
            except nats.errors.NoRespondersError:
                raise ConnectionError("NATS knows no master that leads") from None
            except (nats.errors.Error, TimeoutError, OSError):
                raise ConnectionError(f"NATS at {self._broker.servers} does not answer") from None
            self._note(answer.data)
            found = self._found
        if found is None:
            raise ConnectionError("the master that is to lead does not serve yet")
        return found

    def watch(self, conn: wire.PlainConnection, address: Address) -> None:
        """Shut a connection down once the master at ``address`` leads no more."""
        with self._lock:
            self._watched[conn] = address

    def unwatch(self, conn: wire.PlainConnection) -> None:
        """It is closed."""
        with self._lock:
            self._watched.pop(conn, None)

    def close(self) -> None:
        """Disconnect."""
        self._broker.close()

    async def _hear(self, message: Any) -> None:
        self._note(message.data)

    def _note(self, told: bytes) -> None:
        """Take in who leads; what one says that has led before, and does not know yet, does not count."""
        word = json.loads(told)
        host, _, port = word["address"].rpartition(":")
        with self._lock:
            if word["revision"] < self._revision and monotonic() - self._heard < FRESH_SECONDS:
                return
            self._found, self._heard, self._revision = (host.strip("[]"), int(port)), monotonic(), word["revision"]
            former = [conn for conn, address in self._watched.items() if address != self._found]
            for conn in former:
                del self._watched[conn]
                wire.shut_down(conn)


_finders: dict[tuple[int, str, str], Finder] = {}
_making = threading.Lock()


def share(url: str, user: str, password: Callable[[], str], context: ssl.SSLContext | None) -> Finder:
    """The finder of this process for a URL; give it back by `release`. Raises `taskyard.errors.SettingsError`."""
    parsed = parse_nats_url(url)
    key = (getpid(), url, user)
    with _making:
        if key not in _finders:
            _finders[key] = Finder(
                parsed, parsed.user or user, (lambda: parsed.password) if parsed.password else password, context
            )
        _finders[key].users += 1
        return _finders[key]


def release(finder: Finder) -> None:
    """Nobody asks it any more, as far as who has shared it goes."""
    with _making:
        finder.users -= 1
        if finder.users:
            return
        for key in [key for key, one in _finders.items() if one is finder]:
            del _finders[key]
    finder.close()
