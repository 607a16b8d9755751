"""The port: the server side of ``multiprocessing.managers``, hardened.

Each connection proves its key to a thread of its own. Then the engine's thread has it (`master.talk`); programs written
against plain ``BaseManager`` keep their thread, which waits with them (`master.foreign`).

A client names an object, a method and arguments. There are three objects: ``queue`` (the contract), ``task`` and
``result`` (the tutorial's queues). Nothing else can be reached: no other method, no object of a client's making, no
``shutdown``.
"""

from __future__ import annotations

import math
import ssl
import threading
from collections.abc import Callable
from functools import partial
from multiprocessing import connection
from multiprocessing.managers import Server, listener_client  # type: ignore[attr-defined]
from typing import Any

from master import foreign, ration, rules
from master.committer import COPY, LEASE, Committer, results_of
from master.doorstep import Doorstep, GaveWay, Refusals
from master.hangups import Hangups
from master.keyring import Key, Keyring
from master.listener import TlsListener
from master.talk import SEND_SECONDS, Request, Talk
from taskyard import wire
from taskyard.errors import BadRequest, NotAllowed
from taskyard.log import get_logger
from taskyard.model import PROTOCOL
from taskyard.transport import IDENT, LONGEST_WAIT

HANDSHAKES = 256
"""Connections that may be proving their key at the same time; at one more, the one that has been at it for longest gives way."""
TLS = f"{wire.SERIALIZER}-tls"
"""Where the standard library's server finds the listener of a port that speaks TLS."""
ARGUMENTS = {
    "submit": 1,
    "settle": 2,
    "heartbeat": 2,
    "leave": 1,
    "cancel": 1,
    "find": 6,
    "show": 2,
    "attempts": 1,
    "running": 2,
    "jobs": 3,
    "schedules": 0,
    "retry": 1,
    "retry_all": 3,
    "forget": 1,
    "stats": 0,
    "workers": 0,
    "pause": 1,
    "drain": 1,
    "history": 2,
    "kinds": 0,
    "lease": 4,
    "results": 4,
    "backup": 3,
}
"""How many each verb takes."""

logger = get_logger("master")


class QueueServer(Server):
    """Serves a `Committer` on ``address``, with ``context`` over TLS only; ``self.address`` tells the port where 0 was asked
    for. Raises OSError."""

    public = ["accept_connection", "create", "incref", "decref", "dummy"]  # noqa: RUF012
    listener: wire.PlainListener | TlsListener

    def __init__(
        self, committer: Committer, address: tuple[str, int], keyring: Keyring, context: ssl.SSLContext | None = None
    ) -> None:
        if context is not None:
            listener_client[TLS] = (partial(TlsListener, context=context), None)
        # Its own handshake is not used, so that it needs no key.
        super().__init__({}, address, b"", wire.SERIALIZER if context is None else TLS)
        self._keyring = keyring
        self._committer = committer
        self._engine = committer.engine
        self.hangups = Hangups(lambda conn: committer.tell(partial(committer.engine.closed, conn)))
        self._doorstep = Doorstep(HANDSHAKES)
        self._refusals = Refusals()
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
        self.hangups.stop()

    def accepter(self) -> None:
        """Hand each new connection to a thread; when descriptors or threads run out, wait for some to end."""
        while not self._stopping.is_set():
            try:
                self._admit(self.listener.accept())
            except (OSError, RuntimeError) as error:
                if not self._stopping.wait(0.2):
                    logger.warning("a connection could not be accepted", error=str(error))

    def _admit(self, conn: wire.PlainConnection) -> None:
        self._doorstep.enter(conn)
        try:
            threading.Thread(target=self.handle_request, args=(conn,), daemon=True).start()
        except RuntimeError:
            self._doorstep.leave(conn)
            conn.close()
            raise

    def handle_request(self, conn: Any) -> None:
        """Let a connection prove its key, then do the one thing that it asks for, or serve it until it closes."""
        try:
            key, name, args = self._prove(conn)
        except Exception as error:  # what Python's own handshake makes of garbage, too: in 3.11 an AssertionError
            if not isinstance(error, GaveWay):  # of which there may be thousands a second
                self._refusals.tell(_words(error))
            self.ended(conn)
            return
        handed_on = False
        try:
            if name != "accept_connection":
                conn.send(self._do_once(name, args))
            else:
                conn.send(("#RETURN", None))
                handed_on = self._converse(conn, key)
        except (OSError, EOFError):
            pass
        finally:
            if not handed_on:
                self._committer.tell(partial(self._engine.closed, conn))
                self.ended(conn)

    def ended(self, conn: wire.PlainConnection) -> None:
        """Close a connection with which there is nothing more to be done; for one that `master.talk` had, what it held was given
        back before."""
        conn.close()

    def _converse(self, conn: wire.PlainConnection, key: Key) -> bool:
        """Serve what a foreign program asks until it closes; whether it is none, and was handed on."""
        program: foreign.Program | None = None
        while True:
            message = conn.recv_bytes()
            try:
                ident, method, args, kwds = _request(message)
            except ValueError as error:
                conn.send(("#ERROR", error))
                continue
            if ident == IDENT and program is None:
                Talk(self._committer, conn, partial(self._asked, key), self.ended).begin(message)
                return True
            if program is None:  # for good: what it takes is out on this connection, whose end this thread tells
                program = foreign.Program(self._committer, self.hangups, conn, key, partial(self._keyring.holds, key))
            program.reply(ident, method, args, kwds)

    def _prove(self, conn: wire.PlainConnection) -> tuple[Key, Any, Any]:
        try:
            key = self._keyring.prove(conn)
        finally:
            if not self._doorstep.leave(conn):
                raise GaveWay
        connection.answer_challenge(conn, key.secret)
        conn.max_bytes = self._message_limit
        _, name, args, _ = _request(conn.recv_bytes())
        conn.deadline = math.inf
        wire.bound_waits(conn, 0, SEND_SECONDS)
        return key, name, args

    def _do_once(self, name: Any, args: Any) -> tuple[str, Any]:
        """What a standard client asks on connections of their own: the names of the two queues, their methods."""
        if name in ("dummy", "incref", "decref"):
            return "#RETURN", None
        ident = foreign.TYPES.get(args[0]) if name == "create" and args and isinstance(args[0], str) else None
        if ident is not None:
            return "#RETURN", (ident, foreign.EXPOSED)
        return "#ERROR", ValueError(f"only {' and '.join(foreign.TYPES)} can be asked for here")

    def _asked(self, key: Key, talk: Talk, message: bytes) -> Request:
        """What a message asks for. Raises ValueError for what is no request, `taskyard.errors.BadRequest` for a wrong one,
        `taskyard.errors.NotAllowed`, and EOFError when the key has been taken out of use."""
        if not self._keyring.holds(key):
            raise EOFError
        ident, verb, args, _ = _request(message)
        engine = self._engine
        if ident != IDENT:
            raise BadRequest("a connection that speaks to the queue can't speak to other objects too")
        if verb == "hello":
            limits = {"payload_limit": engine.payload_limit, "message_limit": self._message_limit}
            return Request(talk, lambda: {"protocol": PROTOCOL, **limits})
        if not isinstance(verb, str) or ARGUMENTS.get(verb) != len(args):
            raise BadRequest(f"no verb {verb if isinstance(verb, str) else ''!r:.100} that takes {len(args)} arguments")
        if not key.allows(verb):
            raise NotAllowed(f"the {key.role} key does not allow {verb!r}; see docs/security.md for whose does")
        if verb == "lease":
            session, limit, wait, names = args
            known = None if names is None else rules.read_names(names, "names")
            lend = partial(engine.lease, talk, session, limit, known, engine.now())
            return Request(talk, partial(self._unless_retired, key, lend), LEASE, _seconds(wait))
        if verb == "results":
            job, after, limit, wait = args
            topic = results_of(rules.read_text(job, "job"))
            read = partial(engine.results, job, after, limit)
            return Request(talk, lambda: self._unless_retired(key, read) or None, topic, _seconds(wait))
        run = partial(getattr(engine, verb), *args)
        if verb == "backup":
            return Request(talk, partial(self._unless_retired, key, run), COPY, LONGEST_WAIT)
        return Request(talk, run)

    def _unless_retired(self, key: Key, run: Callable[[], Any]) -> Any:
        """What a call does that may have waited: its key may have been taken out of use meanwhile. Raises EOFError."""
        if not self._keyring.holds(key):
            raise EOFError
        return run()


def _request(message: bytes) -> tuple[Any, Any, Any, Any]:
    """Object, method, arguments, named arguments. Raises ValueError for what is no request."""
    try:
        first, name, args, kwds = ration.load(message)
        if not isinstance(args, tuple | list) or not isinstance(kwds, dict):
            raise TypeError("not a request")
    except Exception as error:  # an unpickler that reads garbage raises whatever it likes
        raise ValueError(f"a request that can't be read: {_words(error)}") from None
    return first, name, args, kwds


def _words(error: Exception) -> str:
    # An error quotes what a client sent, which may be long, or made to look like lines of the log.
    words = f"{error!s:.200}" or type(error).__name__
    return words if words.isprintable() else ascii(words)


def _seconds(wait: Any) -> float:
    if type(wait) not in (int, float) or not wait >= 0:
        raise BadRequest("wait must be seconds, zero or more")
    return float(min(wait, LONGEST_WAIT))
