"""A million calls, and what they take: the client's memory and the master's stay small, however many there are."""

from __future__ import annotations

import json
import subprocess
import sys

import psutil

from tests.contract.master_process import MasterProcess
from tests.programs.conftest import StartWorker

CALLS = 1_000_000
CLIENT_BYTES = 200 * 2**20
GROWTH_BYTES = 32 * 2**20
"""What the master may have more at the end than after the first tenth: pages of its file that it keeps, at most 64 MiB."""
CLIENT = """
import json, pathlib, re, sys
from taskyard import Cluster
from tests.programs.tasks import give_back
calls = int(sys.argv[1])
with Cluster() as cluster:
    for n, result in enumerate(cluster.map(give_back, range(calls))):
        assert result == n
        if n + 1 in (calls // 10, calls):
            # Not by getrusage, whose maximum is also that of the program that started this one.
            (most,) = re.findall(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())
            print(json.dumps([n + 1, int(most) * 1024]), flush=True)
            sys.stdin.readline()
"""


def test_a_million_results_come_in_order_and_neither_client_nor_master_grows(
    own_master: MasterProcess, start_worker: StartWorker
) -> None:
    own_master.start()
    start_worker(own_master, worker_slots=2)
    assert own_master.process is not None
    master = psutil.Process(own_master.process.pid)
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT, str(CALLS)],
        env=own_master.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as client:
        assert client.stdout is not None
        assert client.stdin is not None
        seen: list[tuple[int, int, int]] = []
        for line in client.stdout:
            calls, client_bytes = json.loads(line)
            seen.append((calls, client_bytes, master.memory_info().rss))
            client.stdin.write("on\n")
    assert client.returncode == 0
    (early, _, early_master), (late, client_bytes, late_master) = seen
    assert (early, late) == (CALLS // 10, CALLS)
    print(f"client {client_bytes:,} bytes at most; master {early_master:,}, then {late_master:,}")
    assert client_bytes < CLIENT_BYTES
    assert late_master < early_master + GROWTH_BYTES, f"from {early_master:,} to {late_master:,} bytes"
