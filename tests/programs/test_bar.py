"""`taskyard.as_completed`: a bar on a terminal, and nothing of it elsewhere."""

from __future__ import annotations

import os
import pty
import subprocess
import sys

import pytest

from tests.contract.master_process import MasterProcess
from tests.programs.tasks import Gate

pytestmark = pytest.mark.usefixtures("worker")
PROGRAM = """
import sys
from taskyard import Cluster, as_completed
def train(folder):
    import time, pathlib
    from taskyard import progress
    progress(3, 10, "epoch three")
    while not (pathlib.Path(folder) / "open").exists():
        time.sleep(0.01)
    return "trained"
with Cluster() as cluster:
    for future in as_completed([cluster.submit(train, sys.argv[1])], description="models"):
        print(future.result())
"""


def test_on_a_terminal_the_bar_shows_the_calls_and_what_they_tell_and_the_output_stays_its_own(
    master: MasterProcess, gate: Gate
) -> None:
    ours, theirs = pty.openpty()
    words = [sys.executable, "-c", PROGRAM, str(gate.folder)]
    environment = master.environment() | {"TERM": "xterm", "COLUMNS": "120"}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=theirs, text=True) as program:
        os.close(theirs)
        drawn = ""
        while "epoch three" not in drawn:  # until the test's time is over
            drawn += os.read(ours, 4096).decode(errors="replace")
        gate.open()
        assert program.stdout is not None
        assert program.stdout.read() == "trained\n"
    os.close(ours)
    assert program.returncode == 0
    assert "models" in drawn
    assert "3/10" in drawn


def test_where_there_is_no_terminal_nothing_is_drawn(master: MasterProcess, gate: Gate) -> None:
    gate.open()
    words = [sys.executable, "-c", PROGRAM, str(gate.folder)]
    ended = subprocess.run(words, env=master.environment(), capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "trained\n", "")
