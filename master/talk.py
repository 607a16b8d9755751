"""One client's connection as the engine's thread has it: requests in, answers out, and it never waits for the client."""

from __future__ import annotations

import os
import pickle
import select
import socket
import struct
from collections.abc import Callable
from functools import partial
from typing import Any

from master.committer import Call, Committer, Topic
from master.poll import HEARD
from taskyard import wire
from taskyard.errors import BadRequest
from taskyard.log import get_logger

READ_BYTES, MORE_BYTES = 64 * 1024, 1024 * 1024
"""Read at first, and at a time when that was not all of a message."""
SEND_SECONDS = 30.0
"""An answer that a client does not take in for so long is given up, and with it what it lent."""
HEADER = struct.Struct("!i")
"""Before each message: its length (`multiprocessing.connection`)."""
GONE = select.EPOLLRDHUP | select.EPOLLHUP | select.EPOLLERR
logger = get_logger("master")


class Request(Call):
    """What a client asked, whose answer the thread that has it sends."""

    __slots__ = ("_talk",)

    def __init__(self, talk: Talk, run: Callable[[], Any], topic: Topic | None = None, wait: float = 0.0) -> None:
        super().__init__(run, topic, wait, talk.is_gone)
        self._talk = talk

    def finish(self) -> None:
        """Send the answer."""
        self._talk.answer(self)


class Talk:
    """A connection that has proved its key. ``serve`` makes a `Request` of a message or raises; ``ended`` is told of its end.

    Used by the committer's thread alone from `begin` on.
    """

    def __init__(
        self,
        committer: Committer,
        conn: wire.PlainConnection,
        serve: Callable[[Talk, bytes], Request],
        ended: Callable[[wire.PlainConnection], None],
    ) -> None:
        self._committer = committer
        self._conn = conn
        self._serve = serve
        self._ended = ended
        self._gone = False
        self._heard = False
        self._asked = False
        """Whether a request is under way: until it is answered the client has no reason to speak."""
        self._got = bytearray()
        self._unsent = memoryview(b"")
        self._expected = HEARD

    def begin(self, message: bytes) -> None:
        """Take the first message, which was read already, and listen from now on."""
        os.set_blocking(self._conn.fileno(), False)
        with socket.socket(fileno=os.dup(self._conn.fileno())) as sock:
            wire.give_up_after(sock, SEND_SECONDS)
        self._got += HEADER.pack(len(message)) + message
        self._committer.add(Call(self._listen))

    def _listen(self) -> None:
        if self._heard or self._gone:
            return  # the turn is made once more, since another call of it was refused
        try:
            self._committer.poll.add(self)
        except OSError as error:  # the system watches no more of them
            logger.warning("a connection could not be accepted", error=str(error))
            calls = self._farewell()
        else:
            self._heard = True
            calls = self._guarded(self._requests)
        self._add(calls)

    def fileno(self) -> int:
        """The connection's descriptor."""
        return self._conn.fileno()

    def is_gone(self) -> bool:
        """Whether the client has closed it, or has died."""
        return self._gone

    def on_event(self, events: int) -> list[Call]:
        """See `master.poll.Peer`."""
        return self._guarded(partial(self._hear, events))

    def _hear(self, events: int) -> list[Call]:
        if (self._unsent or self._asked) and events & GONE:
            raise EOFError
        if self._unsent:
            self._flush()
            return self._requests()
        if self._asked:
            self._expect(select.EPOLLRDHUP)  # what it says meanwhile is for later
            return []
        return self._read()

    def answer(self, request: Call) -> None:
        """Send what came of a request."""
        if self._gone:
            return
        self._asked = False
        if isinstance(request.error, EOFError):  # its key was taken out of use while it waited
            self._add(self._end())
            return
        if request.error is not None:
            reply: tuple[str, Any] = ("#ERROR", (type(request.error).__name__, str(request.error)))
        else:
            reply = ("#RETURN", [] if request.value is None and request.topic is not None else request.value)
        self._add(self._guarded(partial(self._send_and_go_on, reply)))

    def _send_and_go_on(self, reply: tuple[str, Any]) -> list[Call]:
        self._send(reply)
        return self._requests() if self._got else []

    def _add(self, calls: list[Call]) -> None:
        for call in calls:
            self._committer.add(call)

    def _guarded(self, do: Callable[[], list[Call]]) -> list[Call]:
        """What fails with one client is that client's end, not that of the thread that has them all."""
        try:
            return do()
        except (OSError, EOFError):
            return self._end()
        except Exception as error:  # such as a MemoryError at a huge answer
            logger.error("a connection failed", error=repr(error))
            return self._end()

    def close(self) -> None:
        """End it; what it held is as good as given back."""
        self._committer.poll.remove(self)
        self._gone = True
        self._ended(self._conn)

    def _end(self) -> list[Call]:
        self._committer.poll.remove(self)
        return self._farewell()

    def _farewell(self) -> list[Call]:
        self._gone = True
        return [Farewell(partial(self._committer.engine.closed, self), partial(self._ended, self._conn))]

    # Bytes

    def _read(self) -> list[Call]:
        try:
            data = os.read(self._conn.fileno(), MORE_BYTES if self._got else READ_BYTES)
        except BlockingIOError:
            return []
        if not data:
            raise EOFError
        self._got += data
        return self._requests()

    def _requests(self) -> list[Call]:
        """The next request, if it is there and due; a wrong one is refused when its turn comes, so that a client that says
        nothing else takes no more of this thread than any other."""
        message = None if self._asked or self._unsent else self._cut()
        if message is None:
            return []
        try:
            request = self._serve(self, message)
        except EOFError:  # nobody who may ask any more
            raise
        except ValueError as error:  # not even a request
            request = Request(self, partial(_refuse, BadRequest(str(error))))
        except Exception as error:
            request = Request(self, partial(_refuse, error.with_traceback(None)))  # of which the message would be part
        self._asked = True
        return [request]

    def _cut(self) -> bytes | None:
        got = self._got
        if len(got) < HEADER.size:
            return None
        (size,) = HEADER.unpack_from(got)
        if not 0 <= size <= self._conn.max_bytes:
            raise OSError("bad message length")
        end = HEADER.size + size
        if len(got) < end:
            return None
        message = bytes(got[HEADER.size : end])
        del got[:end]
        return message

    def _send(self, reply: tuple[str, Any]) -> None:
        message = pickle.dumps(reply, protocol=5)
        self._unsent = memoryview(HEADER.pack(len(message)) + message)
        self._flush()

    def _flush(self) -> None:
        try:
            self._unsent = self._unsent[os.write(self._conn.fileno(), self._unsent) :]
        except BlockingIOError:
            pass
        self._expect(select.EPOLLOUT | select.EPOLLRDHUP if self._unsent else HEARD)

    def _expect(self, events: int) -> None:
        if events != self._expected:
            self._expected = events
            self._committer.poll.expect(self, events)


def _refuse(error: Exception) -> None:
    raise error


class Farewell(Call):
    """Gives back what a connection held, then lets it end."""

    __slots__ = ("_ended",)

    def __init__(self, run: Callable[[], Any], ended: Callable[[], None]) -> None:
        super().__init__(run)
        self._ended = ended

    def finish(self) -> None:
        """Close it."""
        self._ended()
