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
from master.replica.log import LOG_BYTES, Holder, Log
from master.replica.store import ReplicaStore
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
"""The log is cut off by a snapshot when it is longer, and than the store is; looked at every so many seconds."""
logger = get_logger("master")


def stand_by(log: Log, store: ReplicaStore, me: str, address: str, stop: threading.Event, well: Callable[[], None]) -> int:
    """Replay until this master is to lead; returns the revision under which it says so, 0 when ``stop`` was set.

    ``well`` is called after each look that NATS has answered. Raises what `ReplicaStore.catch_up` does.
    """
    seen, since = Holder("", "", -1), 0.0
    silent = False
    while not stop.is_set():
        try:
            holder = log.holder()
            store.catch_up()
            well()
            if silent:
                logger.info("NATS answers again")
            silent = False
            if holder != seen:
                if holder.master and holder.master != seen.master:
                    logger.info("stands by", leader=holder.master, address=holder.address)
                seen, since = holder, monotonic()
            if _is_vacant(holder, store, me) or monotonic() - since > LOST_SECONDS:
                return log.hold(me, address, holder.revision)
        except LeadLost:
            pass  # another one was faster
        except Unreachable as error:
            if not silent:
                logger.warning("waits for NATS", why=str(error))
            silent, since = True, monotonic()
        stop.wait(LOOK_SECONDS)
    return 0


def _is_vacant(holder: Holder, store: ReplicaStore, me: str) -> bool:
    """Whether nobody else is to be waited for. Where nobody ever led, those go first that have more than the log."""
    if holder.master:
        return holder.master == me
    return holder.revision > 0 or store.is_ahead


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

    def end(self) -> None:
        """Lead no more; the next one need not wait."""
        self._ended.set()
        for thread in self._threads:
            thread.join()
        try:
            if not self.lost.is_set():
                self._log.hold("", "", self._revision)
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
                if written > min(max(SNAPSHOT_BYTES, store.size()), LOG_BYTES // 4):
                    # Between two turns: as a call that waits, and has not to.
                    (place, lead), copy = committer.call(lambda: (store.place, store.copy()), COPY)
                    saved = self._log.save_snapshot(place, lead, copy, self._ended)
                    copy.unlink()
                    self._log.begin_with(saved, anew=False)
                    before = self._log.state().bytes
                    logger.info("the log was cut off", place=place)
            except (TaskyardError, EOFError, OSError, nats.errors.Error) as error:
                logger.warning("the log could not be cut off", why=str(error) or type(error).__name__)
