"""What answers at the address is not this release's master: exit 76, and one line that says what it is."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from taskyard.model import PROTOCOL
from tests.contract.master_process import MasterProcess
from tests.programs.worker_process import environment_of, run

PROGRAMS = ["worker", "taskyard health", "app.job"]
OF_ANOTHER_RELEASE = """
import master.server
master.server.PROTOCOL = 99
from master.program import run
print("listens", flush=True)
run()
"""
# The master of the tutorial itself, which a reader of the tutorial may well have left running on the port.
OF_THE_TUTORIAL = """
import os
import queue
from multiprocessing.managers import BaseManager
class QueueManager(BaseManager): pass
QueueManager.register("get_task_queue", callable=queue.Queue)
address = ("127.0.0.1", int(os.environ["MASTER_PORT"]))
server = QueueManager(address, os.environ["TASKYARD_AUTHKEY"].encode()).get_server()
print("listens", flush=True)
server.serve_forever()
"""


@pytest.fixture
def serve(own_master: MasterProcess) -> Iterator[Callable[[str], None]]:
    """Runs a program at the master's address; it is killed after the test."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str) -> None:
        program = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=own_master.folder,
            env=own_master.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        started.append(program)
        assert program.stdout is not None
        assert program.stdout.readline() == "listens\n"

    yield start
    for program in started:
        program.kill()
        program.communicate()


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (OF_ANOTHER_RELEASE, f"speaks protocol 99, this program {PROTOCOL}; run the same release on both sides"),
        (OF_THE_TUTORIAL, f"does not speak Taskyard's protocol {PROTOCOL}"),
    ],
    ids=["a master of another release", "the tutorial's own master"],
)
def test_what_is_no_master_of_this_release_is_exit_76_and_one_line(
    code: str, what: str, serve: Callable[[str], None], own_master: MasterProcess
) -> None:
    serve(code)
    for program in PROGRAMS:
        environment = environment_of(own_master, worker_health_file=own_master.folder / "worker-health")
        ended = run(environment, *program.split())
        assert ended.returncode == 76, program
        said = [line for line in ended.stderr.splitlines() if own_master.url in line and "[info" not in line]
        assert len(said) == 1, program
        assert what in said[0], program
        assert "Traceback" not in ended.stderr, program
