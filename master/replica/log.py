"""The log on NATS JetStream, the snapshots that stand for its beginning, and the place that tells who leads."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
from collections.abc import Coroutine
from pathlib import Path
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import nats.errors
from nats.js import api
from nats.js import errors as js_errors

from master.replica.snapshots import Gone, Snapshots
from master.store import LeadLost
from taskyard.broker import Broker
from taskyard.errors import SettingsError, StoreBroken, StoreFull, Unreachable
from taskyard.log import get_logger

MESSAGE_BYTES = 512 * 1024
"""A longer entry goes in several messages: NATS advises against large ones, and takes 1 MiB at most by default."""
LOG_BYTES = 4 * 2**30
"""Far more than is written between two snapshots; then the queue takes nothing more, as on a full disk."""
APPEND_SECONDS, ANSWER_SECONDS = 10.0, 2.0
"""So long a leader tries to append an entry; for so long it waits for one answer."""
AT_ONCE = 64
"""Messages that are asked for together."""
KEPT = 1000
"""Messages before the latest snapshot that stay, for masters that are a little behind."""
KEEPING: dict[str, Any] = {
    "storage": api.StorageType.FILE,
    "retention": api.RetentionPolicy.LIMITS,
    "max_age": 0,
    "max_msgs": -1,
}
"""Of every stream: what is written stays until it is deleted."""
WRONG_LAST = (10071, 10164, 10070)
"""What JetStream says when the log does not end where the leader thinks (error codes of nats-server)."""
FULL = (10023, 10047, 10077)
"""What it says when there is no room."""
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
        self._replicas = replicas
        self.subject, self.lead_subject, self.snapshot_subject = (f"{queue}.{what}" for what in ("log", "lead", "snapshot"))
        self.name, self.lead_name, self.snapshot_name = (f"taskyard-{queue}-{what}" for what in ("log", "lead", "snapshots"))

    def open(self, seconds: float) -> None:
        """Connect; make what is missing, and check what is there. Raises `SettingsError`, `taskyard.errors.WrongKey`."""
        self._js = self._broker.open(seconds)
        self._snapshots = Snapshots(self._js, self.snapshot_name, self.snapshot_subject)
        for name, subject, more in (
            (self.name, self.subject, {"discard": api.DiscardPolicy.NEW, "max_bytes": LOG_BYTES}),
            (self.lead_name, self.lead_subject, {"max_msgs_per_subject": 1}),
            (self.snapshot_name, f"{self.snapshot_subject}.>", {}),
        ):
            settings: dict[str, Any] = {"num_replicas": self._replicas, **KEEPING, **more}
            self._run(self._prepare(api.StreamConfig(name=name, subjects=[subject], **settings)))

    def close(self) -> None:
        """Disconnect."""
        self._broker.close()

    def delete(self) -> None:
        """Delete the queue from NATS, with all that it has."""
        for name in (self.name, self.lead_name, self.snapshot_name):
            try:
                self._run(self._js.delete_stream(name))
            except js_errors.NotFoundError:
                pass

    # Messages

    def state(self) -> LogState:
        """Where the log begins and ends. Raises `StoreBroken` when it was deleted."""
        try:
            info = self._run(self._js.stream_info(self.name))
        except js_errors.NotFoundError:
            raise StoreBroken(f"the stream {self.name!r} is gone from NATS: this master makes it anew when it starts") from None
        return LogState(max(1, info.state.first_seq), info.state.last_seq, info.state.bytes, str(info.created))

    def read(self, after: int, upto: int) -> list[Message]:
        """Messages behind ``after``, up to that place at most. Raises `Gone` if the first of them is there no more."""
        return self._run(self._read(after, min(upto, after + AT_ONCE)), APPEND_SECONDS)

    def append(self, after: int, data: bytes) -> int:
        """Write a message behind ``after``; returns its place once most servers have it.

        Raises `LeadLost` when something else stands there, or nothing was heard of it for `APPEND_SECONDS`; StoreFull when
        there is no room (nothing was written).
        """
        deadline = monotonic() + APPEND_SECONDS
        while True:
            try:
                return self._broker.run(self._append(self.subject, after, data), ANSWER_SECONDS + 1)
            except js_errors.APIError as error:
                if error.err_code in WRONG_LAST:
                    self._find(after + 1, data, deadline)
                    return after + 1
                if error.err_code in FULL:
                    raise StoreFull(
                        f"NATS has no room for the queue's log ({error.description}): give its servers some"
                    ) from None
                why = error.description or "an error"
            except _UNHEARD as error:
                why = str(error) or type(error).__name__
            if monotonic() > deadline:
                raise LeadLost(f"NATS did not take what was to be written ({why}); another master may lead by now")
            self._rest()

    def _find(self, seq: int, data: bytes, deadline: float) -> None:
        """See that this message stands there: an earlier try may have been heard, and its answer lost. Raises `LeadLost`."""
        while monotonic() < deadline:
            try:
                found = self._broker.run(self._get(seq), ANSWER_SECONDS + 1)
            except (Gone, js_errors.APIError, *_UNHEARD):
                self._rest()
                continue
            if found.data == data:
                return
            break
        raise LeadLost("another master leads: what this one was to write next stands there already from somebody else")

    # Who leads

    def holder(self) -> Holder:
        """Who leads."""
        try:
            found = self._run(self._js.get_last_msg(self.lead_name, self.lead_subject))
        except js_errors.NotFoundError:
            return Holder("", "", 0)
        told = json.loads(found.data or b"{}")
        return Holder(told["master"], told["address"], found.seq or 0)

    def hold(self, master: str, address: str, revision: int) -> int:
        """Say who leads, if nobody has said anything since that revision; returns the new one. Raises `LeadLost`."""
        told = json.dumps({"master": master, "address": address}).encode()
        headers = {"Nats-Expected-Last-Subject-Sequence": str(revision)}
        try:
            return self._run(self._js.publish(self.lead_subject, told, ANSWER_SECONDS, headers=headers)).seq
        except js_errors.APIError as error:
            if error.err_code in WRONG_LAST:
                raise LeadLost("another master leads now") from None
            raise Unreachable(f"NATS: {error.description}") from None

    # Snapshots

    def save_snapshot(self, seq: int, path: Path) -> None:
        """Keep a copy of the store as it was at this place of the log, then drop what stands before it."""
        self._run(self._snapshots.save(seq, path), None)
        self._run(self._snapshots.drop_before(seq))
        if seq > KEPT:
            self._run(self._js.purge_stream(self.name, seq=seq - KEPT))

    def snapshots(self) -> list[int]:
        """Places of which there is a snapshot, the latest last."""
        return self._run(self._snapshots.places())

    def load_snapshot(self, seq: int, path: Path) -> None:
        """Fetch a snapshot into a file. Raises `Gone` if it is not there any more."""
        self._run(self._snapshots.load(seq, path), None)

    # In NATS's own thread

    def _run(self, work: Coroutine[Any, Any, T], seconds: float | None = ANSWER_SECONDS + 1) -> T:
        try:
            return self._broker.run(work, seconds)
        except (js_errors.NotFoundError, js_errors.BadRequestError):
            raise  # an answer
        except _UNHEARD as error:
            raise Unreachable(f"NATS at {self._broker.servers} does not answer ({error or type(error).__name__})") from None

    def _rest(self) -> None:
        self._broker.run(asyncio.sleep(0.1))

    async def _prepare(self, wanted: api.StreamConfig) -> None:
        """Make a stream, or see that the one of this name is such a one. Raises `SettingsError`."""
        assert wanted.name is not None
        try:
            found = (await self._js.stream_info(wanted.name)).config
        except js_errors.NotFoundError:
            try:
                await self._js.add_stream(wanted)
            except js_errors.APIError as error:
                raise SettingsError(
                    f"NATS can't keep the stream {wanted.name!r}: {error.description} (MASTER_REPLICAS)"
                ) from None
            return
        asked = {"num_replicas": "MASTER_REPLICAS"}
        for what in ("subjects", "storage", "retention", "discard", "num_replicas", "max_age", "max_msgs_per_subject"):
            has, wants = getattr(found, what), getattr(wanted, what)
            if (has or None) != (wants or None):
                raise SettingsError(
                    f"the stream {wanted.name!r} on NATS has {what} {_shown(has)}, expected is {_shown(wants)}: set"
                    f" {asked.get(what, 'TASKYARD_URL')} as it was when the stream was made, or change the stream"
                )

    async def _read(self, after: int, upto: int) -> list[Message]:
        found = await asyncio.gather(*map(self._get, range(after + 1, upto + 1)))
        return list(found)

    async def _get(self, seq: int) -> Message:
        # Of the server that leads the stream: a "direct" one asks any that has a copy, also one that was cut off a minute ago.
        try:
            found = await self._js.get_msg(self.name, seq)
        except js_errors.NotFoundError:
            raise Gone from None
        return Message(seq, found.data or b"")

    async def _append(self, subject: str, after: int, data: bytes) -> int:
        headers = {"Nats-Expected-Last-Sequence": str(after)}
        return (await self._js.publish(subject, data, ANSWER_SECONDS, headers=headers)).seq


_UNHEARD = (
    TimeoutError,
    concurrent.futures.TimeoutError,
    OSError,
    nats.errors.Error,
)


def _shown(value: Any) -> str:
    return str(getattr(value, "value", value))
