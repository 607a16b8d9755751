"""Three NATS servers for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.nats_servers import NatsServers


@pytest.fixture(scope="package")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServers]:
    made = NatsServers(tmp_path_factory.mktemp("nats"), 3)
    yield made
    made.stop()
