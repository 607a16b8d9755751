"""A real master that is attacked, and a client that means well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.contract.master_process import MasterProcess
from tests.hostile.honest import Honest


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MasterProcess]:
    """A real master, shared by the tests of a file."""
    with MasterProcess(tmp_path_factory.mktemp("master")) as process:
        yield process


@pytest.fixture
def honest(master: MasterProcess) -> Iterator[Honest]:
    """A client that was there before, and is served as if nothing had happened."""
    with master.queue(5.0) as queue:
        client = Honest(master, queue)
        yield client
        client.check()
