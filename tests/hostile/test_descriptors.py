"""Many connections that hold the key: each is a descriptor of the master's."""

from __future__ import annotations

import contextlib
import resource
from pathlib import Path

from tests.contract.master_process import MasterProcess

SOFT = 200
"""More than this process has open itself."""


def test_a_master_takes_as_many_connections_as_the_system_allows_not_as_many_as_its_soft_limit(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    master = MasterProcess(tmp_path)
    with contextlib.ExitStack() as opened:
        opened.callback(master.close)
        resource.setrlimit(resource.RLIMIT_NOFILE, (SOFT, hard))  # for the master, which inherits it
        try:
            master.start(wait=False)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(SOFT + 50):
            opened.enter_context(master.queue(5.0)).connect()
        with master.queue(5.0) as newcomer:
            assert newcomer.stats()["ready"] == 0
