"""Many connections that hold the key: each is a descriptor of the master's."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

from tests.contract.master_process import MasterProcess


def test_a_master_takes_as_many_connections_as_the_system_allows_not_as_many_as_its_soft_limit(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    low = len(list(Path("/proc/self/fd").iterdir())) + 100  # this process starts the master, and must be able to
    master = MasterProcess(tmp_path)
    with contextlib.ExitStack() as opened:
        opened.callback(master.close)
        resource.setrlimit(resource.RLIMIT_NOFILE, (low, hard))  # for the master, which inherits it
        try:
            master.start(wait=False)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        with master.queue(20.0) as first:
            first.connect()  # it has started
        for _ in range(low + 50):
            opened.enter_context(master.queue(5.0)).connect()
        with master.queue(5.0) as newcomer:
            assert newcomer.stats()["ready"] == 0
