"""The port: the server side of ``multiprocessing.managers``, hardened. One thread a connection.

A client names an object, a method and arguments. There are three objects: ``queue`` (the contract), ``task`` and
``result`` (the tutorial's queues). Nothing else can be reached: no other method, no object of a client's making, no
``shutdown``.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing import AuthenticationError, connection
from multiprocessing.managers import Server
from typing import Any

from master import foreign, rules
from master.committer import LEASE, Committer, Topic, results_of
from master.hangups import Hangups
from taskyard import wire
from taskyard.errors import BadRequest
from taskyard.log import get_logger
from taskyard.model import PROTOCOL
from taskyard.transport import IDENT, LONGEST_WAIT

HANDSHAKES = 256
"""Connections that may be proving their key at the same time; more wait in the system's backlog."""
SEND_SECONDS = 30.0
"""A reply that a client does not take in for so long is given up, and with it what it lent."""
ARGUMENTS = {
    "submit": 1,
    "settle": 2,
    "heartbeat": 2,
    "leave": 1,
    "cancel": 1,
    "find": 4,
    "show": 2,
    "running": 2,
    "jobs": 3,
    "schedules": 0,
    "retry": 1,
    "forget": 1,
    "stats": 0,
    "workers": 0,
    "lease": 4,
    "results": 4,
}
"""How many each verb takes."""

logger = get_logger("master")


class QueueServer(Server):
    """Serves a `Committer` on ``address``; ``self.address`` tells the port where 0 was asked for. Raises OSError."""

    public = ["accept_connection", "create", "incref", "decref", "dummy"]  # noqa: RUF012
    listener: wire.PlainListener
    authkey: bytes

    def __init__(self, committer: Committer, address: tuple[str, int], authkey: bytes) -> None:
        super().__init__({}, address, authkey, wire.SERIALIZER)
        self._committer = committer
        self._engine = committer.engine
        self.hangups = Hangups(lambda conn: committer.tell(partial(committer.engine.closed, conn)))
        self._handshakes = threading.Semaphore(HANDSHAKES)
        self._stopping = threading.Event()
        self._message_limit = max(wire.MESSAGE_BYTES, self._engine.payload_limit + 8 * 1024 * 1024)

    def start(self) -> None:
        """Accept connections until `close`."""
        self.hangups.start()
        threading.Thread(target=self.accepter, name="accepter", daemon=True).start()

    def close(self) -> None:
        """Accept no more."""
        self._stopping.set()
        self.listener.close()

    def accepter(self) -> None:
        """Hand each new connection to a thread; when descriptors or threads run out, wait for some to end."""
        while not self._stopping.is_set():
            self._handshakes.acquire()
            try:
                conn = self.listener.accept()
                threading.Thread(target=self.handle_request, args=(conn,), daemon=True).start()
            except (OSError, RuntimeError) as error:
                self._handshakes.release()
                if not self._stopping.wait(0.2):
                    logger.warning("a connection could not be accepted", error=str(error))

    def handle_request(self, conn: Any) -> None:
        """Let a connection prove its key, then do the one thing that it asks for, or serve it until it closes."""
        try:
            name, args = self._prove(conn)
        except (AuthenticationError, OSError, EOFError, ValueError) as error:
            logger.info("a connection was refused", reason=str(error) or type(error).__name__)
            conn.close()
            return
        finally:
            self._handshakes.release()
        try:
            if name == "accept_connection":
                conn.send(("#RETURN", None))
                self._serve(conn)
            else:
                conn.send(self._do_once(name, args))
        except (OSError, EOFError):
            pass
        finally:
            self._committer.tell(partial(self._engine.closed, conn))
            conn.close()

    def _prove(self, conn: wire.PlainConnection) -> tuple[Any, Any]:
        connection.deliver_challenge(conn, self.authkey)
        connection.answer_challenge(conn, self.authkey)
        conn.max_bytes = self._message_limit
        _, name, args, _ = self._read(conn)
        conn.deadline = math.inf
        wire.bound_waits(conn, 0, SEND_SECONDS)
        return name, args

    def _do_once(self, name: Any, args: Any) -> tuple[str, Any]:
        """What a standard client asks on connections of their own: the names of the two queues, their methods."""
        if name in ("dummy", "incref", "decref"):
            return "#RETURN", None
        ident = foreign.TYPES.get(args[0]) if name == "create" and args and isinstance(args[0], str) else None
        if ident is not None:
            return "#RETURN", (ident, foreign.EXPOSED)
        return "#ERROR", ValueError(f"only {' and '.join(foreign.TYPES)} can be asked for here")

    def _serve(self, conn: wire.PlainConnection) -> None:
        while True:
            try:
                ident, method, args, kwds = self._read(conn)
            except ValueError as error:
                conn.send(("#ERROR", error))
                continue
            if ident == IDENT:
                self._reply(conn, method, args)
            else:
                foreign.reply(self._committer, self.hangups, conn, ident, method, args, kwds)

    @staticmethod
    def _read(conn: wire.PlainConnection) -> tuple[Any, Any, Any, Any]:
        """The next request. Raises ValueError for what is none, OSError and EOFError when the connection ends."""
        data = conn.recv_bytes()
        try:
            first, name, args, kwds = wire.load(data)
            if not isinstance(args, tuple | list) or not isinstance(kwds, dict):
                raise TypeError("not a request")
        except Exception as error:  # an unpickler that reads garbage raises whatever it likes
            raise ValueError(f"a request that can't be read: {error}") from None
        return first, name, args, kwds

    def _reply(self, conn: wire.PlainConnection, verb: Any, args: Any) -> None:
        try:
            value = self._do(conn, verb, args)
        except EOFError:
            raise
        except Exception as error:
            conn.send(("#ERROR", (type(error).__name__, str(error))))
            return
        if verb == "lease" and value and conn.peer_is_gone():
            raise EOFError  # closing the connection gives it all back
        conn.send(("#RETURN", value))

    def _do(self, conn: wire.PlainConnection, verb: Any, args: Any) -> Any:
        engine, call = self._engine, self._committer.call
        if verb == "hello":
            return {"protocol": PROTOCOL, "payload_limit": engine.payload_limit, "message_limit": self._message_limit}
        if not isinstance(verb, str) or ARGUMENTS.get(verb) != len(args):
            raise BadRequest(f"no verb {verb if isinstance(verb, str) else ''!r:.100} that takes {len(args)} arguments")
        if verb == "lease":
            session, limit, wait, names = args
            known = None if names is None else rules.read_names(names, "names")
            lease = partial(engine.lease, conn, session, limit, known, engine.now())
            return self._wait(conn, lease, LEASE, _seconds(wait))
        if verb == "results":
            job, after, limit, wait = args
            rules.read_text(job, "job")
            results = partial(engine.results, job, after, limit)
            return self._wait(conn, lambda: results() or None, results_of(job), _seconds(wait))
        return call(partial(getattr(engine, verb), *args))

    def _wait(self, conn: wire.PlainConnection, run: Callable[[], Any], topic: Topic, seconds: float) -> Any:
        with self.hangups.watched(conn):
            return self._committer.call(run, topic, seconds, lambda: conn.gone) or []


def _seconds(wait: Any) -> float:
    if type(wait) not in (int, float) or not wait >= 0:
        raise BadRequest("wait must be seconds, zero or more")
    return float(min(wait, LONGEST_WAIT))
