"""Who leads: a master that stands by looks whether the leader still says so, and takes its place when it does not."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

import nats.errors

from master.committer import COPY, Committer
from master.replica.follower import nothing
from master.replica.log import Holder, Log
from master.replica.store import ReplicaStore
from master.replica.streams import LOG_BYTES
from master.store import LeadLost
from taskyard.broker import Broker
from taskyard.errors import TaskyardError, Unreachable
from taskyard.finder import leads_subject, where_subject
from taskyard.log import get_logger

SAY_SECONDS = 0.5
"""So often a leader says that it leads."""
LOOK_SECONDS = 0.25
LOST_SECONDS = 2.0
"""A leader of which nothing was heard for so long, while NATS answered, has lost its place."""
GIVE_UP_SECONDS = 10.0
"""A leader that can't tell NATS anything for so long gives its place up by itself."""
SNAPSHOT_BYTES, SNAPSHOT_SECONDS = 64 * 2**20, 10.0
MOST_BYTES = LOG_BYTES // 4
"""The log is cut off by a snapshot when it has grown by more than that, and than the store is; or by the most, however large the
store. Looked at every so many seconds."""
logger = get_logger("master")


class Stopped(Exception):
    """This master was told to stop while it replayed."""


def stand_by(
    log: Log, store: ReplicaStore, me: str, address: str, stop: threading.Event, well: Callable[[], None], mine: bool = False
) -> int:
    """Replay until this master is to lead; returns the revision under which it says so, 0 when ``stop`` was set.

    ``well`` is called after each look that NATS has answered, and while it replays. ``mine``: it has led just now, and has kept
    its place. Raises what `ReplicaStore.catch_up` does.
    """

    def look() -> None:
        if stop.is_set():
            raise Stopped
        well()

    watch, offer, silent = Watch(me, mine), Offer(log, store), False
    try:
        while not stop.is_set():
            try:
                holder = log.holder()
                store.catch_up(look)
                look()
                offer.update()
                if silent:
                    logger.info("NATS answers again")
                silent = False
                if watch.is_vacant(holder) and not watch.gives_way(log.is_surpassed(store.reach)):
                    revision = log.hold(me, address, holder.revision)
                    logger.info("takes the leader's place", why=watch.why(holder))
                    return revision
            except LeadLost:
                pass  # another one was faster
            except Unreachable as error:
                if not silent:
                    logger.warning("waits for NATS", why=str(error))
                silent = True
                watch.since = monotonic()
            stop.wait(LOOK_SECONDS)
    except Stopped:
        pass
    finally:
        offer.end()
    return 0


class Watch:
    """What a master that stands by has seen of the others."""

    def __init__(self, me: str, mine: bool) -> None:
        self.since = monotonic()
        """Since when NATS answers, and the leader has said nothing new."""
        self._me = me
        self._mine = mine
        self._seen = Holder("", "", -1)
        self._left = False
        """Whether the leader has left in peace, before the eyes of this master: so it has all that one had."""
        self._waits = False

    def is_vacant(self, holder: Holder) -> bool:
        """Whether the place of the leader is free. One that has just begun waits until those that may have more have too."""
        if holder != self._seen:
            if holder.master not in ("", self._me, self._seen.master):
                logger.info("stands by", leader=holder.master, address=holder.address)
            self._left = bool(self._seen.master) and not holder.master
            self._seen, self.since = holder, monotonic()
        return self._left or (self._mine and holder.master == self._me) or monotonic() - self.since > LOST_SECONDS

    def why(self, holder: Holder) -> str:
        """Why the place is free, for people."""
        if self._left:
            return "it left"
        if holder.master == self._me:
            return "it was this one's"
        return f"it was silent for {monotonic() - self.since:.1f} s" if holder.master else "nobody leads"

    def gives_way(self, surpassed: bool) -> bool:
        """Whether another one is to lead first, since it has more of what NATS has lost."""
        if surpassed and not self._waits:
            logger.warning("waits for a master that has more of what NATS has lost: it is to lead")
        self._waits = surpassed
        return surpassed


class Offer:
    """Tells masters that are about to lead when this one has more than the log."""

    def __init__(self, log: Log, store: ReplicaStore) -> None:
        self._log = log
        self._store = store
        self.end: Callable[[], None] = nothing

    def update(self) -> None:
        """Call it whenever the store has been compared with the log."""
        if self._store.is_ahead and self.end is nothing:
            self.end = self._log.offer(lambda: self._store.more)
        elif not self._store.is_ahead:
            self.end()
            self.end = nothing


class Lead:
    """Says that this master leads, from `begin` until `end`, or until it is ``lost``; once it serves, answers who asks for it,
    and keeps the log short."""

    def __init__(self, log: Log, broker: Broker, queue: str, me: str, revision: int) -> None:
        self.lost = threading.Event()
        self._log = log
        self._broker = broker
        self._queue = queue
        self._me = me
        self._address = ""
        """Where it serves; empty: not yet."""
        self._revision = revision
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []

    def begin(self) -> None:
        """Say from now on that it leads, so that nobody takes its place while it replays what is left."""
        self._start(self._say)

    def serve(self, address: str, committer: Committer, store: ReplicaStore) -> None:
        """Tell where it serves."""
        self._address = address
        self._broker.subscribe(where_subject(self._queue), self._answer, GIVE_UP_SECONDS)
        self._start(partial(self._keep_short, committer, store))

    def check(self) -> None:
        """Raises `LeadLost` when it leads no more."""
        if self.lost.is_set():
            raise LeadLost("another master leads now")

    def end(self, keep: bool = False) -> None:
        """Lead no more; the next one need not wait. ``keep``: this master is to lead again, and is waited for a moment: it knows
        most, where NATS has lost what it had."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        try:
            if not self.lost.is_set():
                self._log.hold(*((self._me, self._address) if keep else ("", "")), self._revision)
            if self._address:
                self._broker.unsubscribe(where_subject(self._queue), GIVE_UP_SECONDS)
        except (TaskyardError, TimeoutError, nats.errors.Error):
            pass  # it is found out in a moment

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name="lead", daemon=True)
        thread.start()
        self._threads.append(thread)

    def _told(self) -> bytes:
        return json.dumps({"address": self._address, "revision": self._revision}).encode()

    async def _answer(self, message: Any) -> None:
        if not (self.lost.is_set() or self._ended.is_set()):
            await message.respond(self._told())

    def _say(self) -> None:
        heard = monotonic()
        while not self._ended.wait(SAY_SECONDS):
            try:
                self._revision = self._log.hold(self._me, self._address, self._revision)
                if self._address:
                    self._broker.run(self._broker.client.publish(leads_subject(self._queue), self._told()), SAY_SECONDS)
                heard = monotonic()
            except LeadLost as error:
                if not self._is_mine():  # else an earlier word of this one, whose answer was lost
                    self._lose(error)
                    return
            except Exception as error:  # whatever it is: a leader that nobody hears is none for long
                if monotonic() - heard > GIVE_UP_SECONDS:
                    self._lose(error)
                    return

    def _lose(self, error: Exception) -> None:
        logger.warning("leads no more", why=str(error))
        self.lost.set()

    def _is_mine(self) -> bool:
        try:
            holder = self._log.holder()
        except Unreachable:
            return True
        if holder.master == self._me:
            self._revision = holder.revision
        return holder.master == self._me

    def _keep_short(self, committer: Committer, store: ReplicaStore) -> None:
        """Cut the log off whenever so much was written since it was."""
        before = 0
        while not self._ended.wait(SNAPSHOT_SECONDS):
            try:
                written = self._log.state().bytes - before
                if written > min(max(SNAPSHOT_BYTES, store.size()), MOST_BYTES):
                    # Between two turns: as a call that waits, and has not to.
                    place = store.save_snapshot(lambda copy: committer.call(copy, COPY), self._ended)
                    before = self._log.state().bytes
                    logger.info("the log was cut off", place=place)
            except (TaskyardError, EOFError, OSError, nats.errors.Error) as error:
                logger.warning("the log could not be cut off", why=str(error) or type(error).__name__)
