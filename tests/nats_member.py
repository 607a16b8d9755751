"""One of several masters in this process: the store and the lead of a queue of its own on NATS."""

from __future__ import annotations

import uuid
from pathlib import Path

from master.committer import Committer
from master.replica.lead import Lead
from master.replica.log import Log
from master.replica.store import ReplicaStore
from taskyard.broker import Broker
from taskyard.urls import parse_nats_url
from tests import nats_servers

OPEN_SECONDS = 20.0


class Member:
    """``many``: NATS servers, each of which has a copy of all."""

    def __init__(self, many: int) -> None:
        self.url = f"{nats_servers.shared(many).url}/{uuid.uuid4().hex[:12]}"
        parsed = parse_nats_url(self.url)
        self._queue = parsed.queue
        self._broker = Broker(parsed, "master", str)
        self.log = Log(self._broker, parsed.queue, many)
        self.log.open(OPEN_SECONDS)
        self._lead: Lead | None = None

    def begin(self, folder: Path) -> ReplicaStore:
        """A store that leads, whatever another one thinks."""
        self._revision = self.log.hold("test", "", self.log.holder().revision)
        store = ReplicaStore(folder, self.log)
        store.lead("test", "0")
        assert isinstance(store, ReplicaStore)
        return store

    def lead(self, committer: Committer, address: tuple[str, int]) -> None:
        """Tell clients of the master at this address."""
        store = committer.engine.store
        assert isinstance(store, ReplicaStore)
        self._lead = Lead(self.log, self._broker, self._queue, "test", "{}:{}".format(*address), self._revision)
        self._lead.start(committer, store)

    def lead_no_more(self) -> None:
        """Tell nobody any more."""
        if self._lead is not None:
            self._lead.end()

    def end(self) -> None:
        """Disconnect, and leave nothing on NATS."""
        self.lead_no_more()
        self.log.delete()
        self.log.close()
