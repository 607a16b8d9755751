"""Three NATS servers for the tests of this folder; and a queue on another one, with its stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.nats_servers import NatsServers
from master.replica.store import ReplicaStore
from tests.nats_member import NewQueue, insist
from tests.replica.copies import Forgetful, Make


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    made = NatsServers(tmp_path_factory.mktemp("nats"), 3)
    yield made
    made.stop()


@pytest.fixture
def queue() -> Iterator[NewQueue]:
    made = NewQueue(1)
    yield made
    insist(made.log.delete)
    made.log.close()


@pytest.fixture
def make(queue: NewQueue, tmp_path: Path) -> Iterator[Make]:
    """Makes the store of a folder; all are closed at the end."""
    made: list[ReplicaStore] = []

    def make_one(folder: str) -> ReplicaStore:
        made.append(ReplicaStore(tmp_path / folder, queue.log))
        return made[-1]

    yield make_one
    for store in made:
        store.close()


@pytest.fixture
def forgetful(tmp_path: Path) -> Iterator[Forgetful]:
    made = Forgetful(tmp_path / "nats")
    yield made
    made.close()
