"""The log on NATS JetStream, the snapshots that stand for its beginning, and the place that tells who leads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import nats.errors
from nats.js import JetStreamContext
from nats.js import errors as js_errors

from master.replica.entries import lead_of
from master.replica.snapshots import Gone, Snapshot, Snapshots
from master.replica.streams import Streams
from master.store import LeadLost
from taskyard.broker import Broker
from taskyard.errors import StoreFull, Unreachable
from taskyard.log import get_logger

MESSAGE_BYTES = 512 * 1024
"""A longer entry goes in several messages: NATS advises against large ones, and takes 1 MiB at most by default."""
APPEND_SECONDS, ANSWER_SECONDS = 10.0, 2.0
"""So long a leader tries to append an entry; for so long it waits for one answer."""
BEHIND_SECONDS = 1.0
"""For so long a server that has just been elected may say that the log is shorter than it is."""
FEW, MANY, QUICK_SECONDS = 4, 64, 0.5
"""Messages that are asked for together, at first and at most: more when they came in so short a time, else fewer."""
KEPT = 1000
"""Messages before the latest snapshot that stay, for masters that are a little behind."""
WRONG_LAST = (10071, 10164, 10070)
"""What JetStream says when the log does not end where the leader thinks (error codes of nats-server)."""
FULL = (10023, 10047, 10077)
"""What it says when there is no room."""
NO_STREAM = 10059
ASK_SECONDS = 2.0
"""For so long masters that have more than the log are heard, be their hosts busy. Where none has, NATS says so at once."""
T = TypeVar("T")
logger = get_logger("master")


class Message(NamedTuple):
    """One message of the log."""

    seq: int
    data: bytes


class LogState(NamedTuple):
    """Where the log begins and ends."""

    first: int
    last: int
    """With nothing in it: the one before the first."""
    bytes: int
    born: str
    """When it was made."""


class Holder(NamedTuple):
    """Who leads, as of the last time it said so."""

    master: str
    """Empty: nobody; the last one has left in peace."""
    address: str
    revision: int
    """Grows each time that it says so; 0: nobody ever led."""


class Log:
    """Every method may raise `taskyard.errors.Unreachable`, when NATS does not answer."""

    def __init__(self, broker: Broker, queue: str, replicas: int) -> None:
        self._broker = broker
        self._streams = Streams(queue, replicas)
        self.name = self._streams.log
        self._more_subject = f"taskyard.{queue}.more"
        self._together = FEW

    def open(self, seconds: float) -> None:
        """Connect; make what is missing, and check what is there. Raises `SettingsError`, `taskyard.errors.WrongKey`."""
        self._js = self._broker.open(seconds)
        self._patient = self._broker.jetstream(APPEND_SECONDS)
        self._snapshots = Snapshots(self._js, self._streams.snapshots, self._streams.snapshot_subject)
        self._make()

    def _make(self) -> None:
        self._run(self._streams.make(self._js), APPEND_SECONDS)

    def close(self) -> None:
        """Disconnect."""
        self._broker.close()

    def delete(self) -> None:
        """Delete the queue from NATS, with all that it has."""
        for name in (self._streams.log, self._streams.lead, self._streams.snapshots):
            try:
                self._run(self._js.delete_stream(name))
            except js_errors.NotFoundError:
                pass

    # Messages

    def state(self) -> LogState:
        """Where the log begins and ends. Where it was deleted it is made anew: masters that run have what it had."""
        try:
            info = self._run(self._js.stream_info(self.name))
        except js_errors.NotFoundError:
            logger.warning("the queue's log is gone from NATS, and is made anew", stream=self.name)
            self._make()
            info = self._run(self._js.stream_info(self.name))
        return LogState(max(1, info.state.first_seq), info.state.last_seq, info.state.bytes, str(info.created))

    def read(self, after: int, upto: int) -> list[Message]:
        """Messages behind ``after``, up to that place at most. Raises `Gone` if the first of them is there no more, or not yet.

        After a few times without an answer it asks for so few at once that a slow link brings them.
        """
        many = min(upto - after, self._together)
        began = monotonic()
        try:
            found = self._run(self._read(after, after + many), APPEND_SECONDS + 1)
        except Unreachable:
            self._together = max(1, many // 2)
            raise
        seconds = monotonic() - began
        if seconds < QUICK_SECONDS and many == self._together:
            self._together = min(MANY, 2 * many)
        elif seconds > 2 * QUICK_SECONDS:
            self._together = max(1, many // 2)
        return found

    def claim(self, lead: int, after: int, data: bytes) -> int:
        """Write behind ``after``, whatever stands there, that somebody leads from there on, under a number that nobody had
        before; returns its place. It is tried once: so it never stands in two histories, where NATS loses what it had.

        Raises `LeadLost` when the log ends elsewhere; `Unreachable` when nothing was heard, then it may stand there.
        """
        try:
            return self._run(self._append(lead, after, 0, data), ANSWER_SECONDS + 1)
        except js_errors.APIError as error:
            if error.err_code in WRONG_LAST:
                raise LeadLost("the log has gone on") from None
            raise Unreachable(f"NATS did not take a claim: {error.description}") from None

    def append(self, lead: int, after: int, data: bytes) -> int:
        """Write a message behind ``after``, where this leader's own last one stands; returns its place once most servers have it.

        Raises `LeadLost` when the log does not end there, or not with that message, or nothing was heard of it for
        `APPEND_SECONDS`; StoreFull when there is no room (the message was not written).
        """
        deadline, unheard = monotonic() + APPEND_SECONDS, False
        while True:
            try:
                return self._broker.run(self._append(lead, after, after, data), ANSWER_SECONDS + 1)
            except js_errors.APIError as error:
                why = error.description or "an error"
                if error.err_code in WRONG_LAST:
                    if self._stands(after + 1, data):
                        return after + 1
                    deadline = min(deadline, monotonic() + BEHIND_SECONDS)
                elif error.err_code in FULL and not unheard:
                    raise StoreFull(f"NATS has no room for the queue's log ({why}): give its servers some") from None
            except _UNHEARD as error:
                why, unheard = str(error) or type(error).__name__, True
            if monotonic() > deadline:
                raise LeadLost(f"NATS did not take what was to be written ({why}); another master may lead by now")
            self._rest()

    def _stands(self, seq: int, data: bytes) -> bool:
        """Whether this message stands there: an earlier try may have been heard, and its answer lost. Raises `LeadLost` where
        another one does."""
        try:
            found = self._broker.run(self._get(seq), ANSWER_SECONDS + 1)
        except (Gone, *_UNHEARD):  # APIError among them
            return False
        if found.data != data:
            raise LeadLost("another master leads: what this one was to write next stands there already from somebody else")
        return True

    # Who leads

    def holder(self) -> Holder:
        """Who leads."""
        try:
            found = self._run(self._js.get_last_msg(self._streams.lead, self._streams.lead_subject))
        except js_errors.NotFoundError as error:
            if error.err_code == NO_STREAM:
                self._make()
            return Holder("", "", 0)
        told = json.loads(found.data or b"{}")
        return Holder(told["master"], told["address"], found.seq or 0)

    def hold(self, master: str, address: str, revision: int) -> int:
        """Say who leads, if nobody has said anything since that revision; returns the new one. Raises `LeadLost`."""
        told = json.dumps({"master": master, "address": address}).encode()
        headers = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        try:
            return self._run(self._js.publish(self._streams.lead_subject, told, ANSWER_SECONDS, headers=headers)).seq
        except js_errors.APIError as error:
            if error.err_code in WRONG_LAST:
                raise LeadLost("another master leads now") from None
            raise Unreachable(f"NATS: {error.description}") from None

    def is_surpassed(self, knows: tuple[int, int]) -> bool:
        """Whether a master that stands by says that it has more of what NATS has lost."""
        asked = self._broker.client.request(self._more_subject, json.dumps(knows).encode(), ASK_SECONDS)
        try:
            self._broker.run(asked, ASK_SECONDS + 1)
            return True
        except _UNHEARD:  # nobody has, which NATS says at once; or he who has hears nothing
            return False

    def offer(self, knows: Callable[[], tuple[int, int] | None]) -> Callable[[], None]:
        """Tell whoever asks from now on (`is_surpassed`), if this master has more; returns what ends that."""

        async def answer(message: Any) -> None:
            mine = knows()
            if mine is not None and mine > tuple(json.loads(message.data)):
                await message.respond(b"")

        try:
            self._broker.subscribe(self._more_subject, answer, ANSWER_SECONDS)
        except _UNHEARD:
            raise Unreachable(f"NATS at {self._broker.servers} does not answer") from None

        def end() -> None:
            try:
                self._broker.unsubscribe(self._more_subject, ANSWER_SECONDS)
            except _UNHEARD:
                pass  # it ends with the connection

        return end

    # Snapshots

    def save_snapshot(self, place: int, lead: int, path: Path, stopped: threading.Event | None = None) -> Snapshot:
        """Keep a copy of the store as it was at this place of the log, written under this leader; until ``stopped``."""
        self._make()
        return self._run(self._snapshots.save(place, lead, path), None, stopped)

    def begin_with(self, snapshot: Snapshot, anew: bool) -> None:
        """Drop what stands before a snapshot, and earlier ones; ``anew``: all others, since they are of another history.

        Raises `LeadLost` where another one has begun to lead: what is to be dropped may be what that one stands on.
        """
        self._see_that_it_leads(snapshot)
        self._run(self._snapshots.drop_others(snapshot, anew), None)
        if snapshot.place > KEPT:
            self._see_that_it_leads(snapshot)
            self._run(self._js.purge_stream(self.name, seq=snapshot.place - KEPT))

    def _see_that_it_leads(self, snapshot: Snapshot) -> None:
        try:
            last = self.state().last
            leads = {lead_of(self._run(self._get(place)).data) for place in (snapshot.place, last)}
        except Gone:
            leads = set()
        if leads != {snapshot.lead}:
            raise LeadLost("another master has begun to lead, or the log on NATS has lost its end")

    def snapshots(self) -> list[Snapshot]:
        """Those that there are, the latest last."""
        try:
            return self._run(self._snapshots.whole())
        except js_errors.NotFoundError:  # with the stream
            return []

    def load_snapshot(self, snapshot: Snapshot, path: Path, look: Callable[[], None]) -> None:
        """Fetch a snapshot into a file; ``look`` is called after each part, in another thread. Raises `Gone` if it is not there
        any more."""
        self._run(self._snapshots.load(snapshot, path, look), None)

    # In NATS's own thread

    def _run(
        self,
        work: Coroutine[Any, Any, T],
        seconds: float | None = ANSWER_SECONDS + 1,
        stopped: threading.Event | None = None,
    ) -> T:
        try:
            return self._broker.run(work, seconds, stopped)
        except (js_errors.NotFoundError, js_errors.BadRequestError):
            raise  # an answer
        except js_errors.ServiceUnavailableError as error:
            why = error.description or "it has no JetStream (jetstream {} in its configuration), or is about to start it"
            raise Unreachable(f"NATS at {self._broker.servers}: {why}") from None
        except _UNHEARD as error:
            raise Unreachable(f"NATS at {self._broker.servers} does not answer ({error or type(error).__name__})") from None

    def _rest(self) -> None:
        self._broker.run(asyncio.sleep(0.1))

    async def _read(self, after: int, upto: int) -> list[Message]:
        if upto == after + 1:  # that few when a link is slow
            return [await self._get(upto, self._patient)]
        return list(await asyncio.gather(*map(self._get, range(after + 1, upto + 1))))

    async def _get(self, seq: int, js: JetStreamContext | None = None) -> Message:
        # Of the server that leads the stream: a "direct" one asks any that has a copy, also one that was cut off a minute ago.
        try:
            found = await (js or self._js).get_msg(self.name, seq)
        except js_errors.NotFoundError:
            raise Gone from None
        return Message(seq, found.data or b"")

    async def _append(self, lead: int, after: int, own: int, data: bytes) -> int:
        headers = {"Nats-Expected-Last-Sequence": str(after), "Nats-Expected-Last-Subject-Sequence": str(own)}
        return (await self._js.publish(f"{self._streams.log_subject}.{lead}", data, ANSWER_SECONDS, headers=headers)).seq


_UNHEARD = (
    TimeoutError,
    concurrent.futures.TimeoutError,
    OSError,
    nats.errors.Error,
)
