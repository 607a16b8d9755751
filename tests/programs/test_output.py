"""What programs say without being asked: tasks that print, and a command line without a command."""

from __future__ import annotations

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from taskyard import Cluster
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.programs.worker_process import environment_of, run

PRINTING = """
from taskyard import task
@task
def say(text): print(text)
"""


@pytest.fixture
def log(master: MasterProcess, tmp_path: Path) -> Iterator[Path]:
    """The log of a worker whose one task prints."""
    (tmp_path / "printing.py").write_text(PRINTING)
    # Unbuffered is what the image makes of Python; a shell does not, and nobody reads it in the README.
    environment = environment_of(
        master, worker_app="printing", taskyard_log="json", worker_health_file=tmp_path / "health", pythonunbuffered=""
    )
    with (tmp_path / "log").open("w") as file:
        worker = subprocess.Popen([sys.executable, "-m", "worker"], cwd=tmp_path, env=environment, stdout=file, stderr=file)
    yield tmp_path / "log"
    worker.kill()
    worker.wait(20)


def said(log: Path, text: str) -> list[str]:
    return [line for line in log.read_text().splitlines() if text in line]


def test_what_a_task_prints_is_in_the_log_while_the_worker_runs(log: Path, cluster: Cluster) -> None:
    text = f"printed by {uuid.uuid4().hex}"
    cluster.submit("say", text).result(20)
    wait_until(partial(said, log, text), "what it printed", 20)


def test_what_a_task_prints_is_a_line_of_the_log_that_carries_its_id(log: Path, cluster: Cluster) -> None:
    text = f"printed by {uuid.uuid4().hex}"
    cluster.submit("say", text).result(20)
    (line,) = wait_until(partial(said, log, text), "what it printed", 20)
    assert json.loads(line)["task"] == f"{cluster.job_id}-0"


def test_the_command_line_without_a_command_shows_its_help(own_master: MasterProcess) -> None:
    ended = run(own_master.environment(), "taskyard")
    asked = run(own_master.environment(), "taskyard", "--help")
    assert ended.returncode == 2
    assert ended.stdout + ended.stderr == asked.stdout
    assert "Usage: taskyard" in asked.stdout
