"""``taskyard local``: a cluster without Docker from the command line."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.contract.master_process import ROOT, MasterProcess
from tests.harness import InThread, wait_until
from tests.programs.command import Command
from tests.programs.conftest import programs

TASKS = """
from taskyard import task

@task
def cube(n):
    return n ** 3
"""
SCRIPT = """
import sys, time
from pathlib import Path
from mine import cube
from taskyard import Cluster

def hold():
    Path("holds").touch()
    time.sleep(600)

with Cluster() as cluster:
    if sys.argv[1] == "hold":
        cluster.submit(hold)
        cluster.submit(cube, 5).result()
        cluster.submit(hold).result()
    print(cluster.submit(cube, int(sys.argv[1])).result(), sys.argv[2:])
sys.exit(int(sys.argv[1]))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine.py").write_text(TASKS)
    (tmp_path / "script.py").write_text(SCRIPT)
    return tmp_path


@pytest.fixture
def command(own_master: MasterProcess, folder: Path, mark: str) -> Command:
    command = Command(own_master, TASKYARD_URL="manager://elsewhere:5000", TEST_MARK=mark, PYTHONPATH=str(ROOT))
    command.folder = folder
    return command


@pytest.fixture
def start(command: Command, nothing_is_left: object) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def run(*words: str) -> subprocess.Popen[str]:
        started.append(command.start("local", *words))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


def test_a_script_runs_on_the_cluster_with_its_arguments_and_exit_code(
    command: Command, nothing_is_left: Callable[[], None]
) -> None:
    ended = command.run("local", "--workers", "2", "--app", "mine", "script.py", "3", "--workers", "x")
    assert (ended.returncode, ended.stdout) == (3, "27 ['--workers', 'x']\n")
    assert "Traceback" not in ended.stderr
    nothing_is_left()


def test_without_a_script_it_tells_how_to_join_and_serves_until_ctrl_c(
    start: Callable[..., subprocess.Popen[str]], command: Command, nothing_is_left: Callable[[], None]
) -> None:
    serving = start("--workers", "1", "--app", "mine", "--log-level", "warning")
    assert serving.stdout is not None
    assert serving.stderr is not None
    lines = [InThread(serving.stdout.readline).result(30) for _ in range(2)]
    found_by = dict(re.findall(r"^export (\w+)=(.*)$", "".join(lines), re.MULTILINE))
    client = subprocess.run(
        command.words("submit", "cube", "4", "--wait"),
        env=command.environment | found_by,
        cwd=command.folder,
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert client.stdout == "64\n"
    serving.send_signal(signal.SIGINT)
    assert serving.wait(15) == 130
    assert serving.stderr.read() == "taskyard: 1 workers serve until Ctrl-C\n"
    nothing_is_left()


@pytest.mark.parametrize("whole_terminal", [True, False])
def test_ctrl_c_ends_script_and_cluster_and_a_folder_keeps_the_job(
    whole_terminal: bool,
    start: Callable[..., subprocess.Popen[str]],
    command: Command,
    folder: Path,
    nothing_is_left: Callable[[], None],
) -> None:
    running = start("--workers", "2", "--app", "mine", "--folder", "kept", "script.py", "hold")
    wait_until(lambda: (folder / "holds").exists(), "it runs")
    if whole_terminal:  # a terminal tells each program of the session's foreground
        os.killpg(running.pid, signal.SIGINT)
    else:
        running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=25)
    assert running.returncode == 130
    assert err.endswith("what was submitted is kept: taskyard local --folder kept\n")
    nothing_is_left()
    (folder / "count.py").write_text("from taskyard import Cluster\nprint([j.done for j in Cluster().queue.jobs(None, 9, 0)])")
    ended = command.run("local", "--workers", "1", "--app", "mine", "--folder", "kept", "count.py")
    assert (ended.returncode, ended.stdout) == (0, "[1]\n")


def test_a_killed_command_leaves_neither_cluster_nor_script(
    start: Callable[..., subprocess.Popen[str]], folder: Path, mark: str, nothing_is_left: Callable[[], None]
) -> None:
    running = start("--workers", "1", "--app", "mine", "script.py", "hold")
    wait_until(lambda: (folder / "holds").exists(), "it runs")
    assert programs(mark, "script.py hold")
    running.kill()
    nothing_is_left()


def test_an_app_that_is_not_there_is_exit_78_with_the_workers_last_words(command: Command) -> None:
    ended = command.run("local", "--app", "not_mine", "script.py", "1")
    assert (ended.returncode, ended.stdout) == (78, "")
    assert "No module named 'not_mine'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_script_that_needs_no_app_runs_in_any_folder(command: Command) -> None:
    (command.folder / "any.py").write_text("from taskyard import Cluster\nprint(sum(Cluster().map(lambda n: n * n, range(4))))")
    ended = command.run("local", "--workers", "1", "any.py")
    assert (ended.returncode, ended.stdout) == (0, "14\n")
