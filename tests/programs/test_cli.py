"""The command line as a whole, health, and the README's three lines for a cluster without Docker."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.ports import free_port
from tests.contract.master_process import ROOT, MasterProcess
from tests.harness import wait_until
from tests.programs.command import Command
from tests.programs.tasks import square
from tests.programs.worker_process import WorkerProcess, environment_of, run

COMMANDS = (
    "autoscale", "cancel", "drain", "forget", "health", "jobs", "local", "map", "pause", "results", "resume", "retry", "scale",
    "schedules", "show", "status", "submit", "tasks", "verify", "workers",
)  # fmt: skip


def test_health_tells_address_and_workers(master: MasterProcess, worker: WorkerProcess) -> None:
    command = Command(master)
    with master.queue() as queue:
        wait_until(queue.workers, "the worker is heard of")
    assert command.ask("health") == f"{master.url} answers, 1 workers\n"
    assert command.ask_json("health") == {"url": master.url, "workers": 1}


def test_health_says_why_not(master: MasterProcess) -> None:
    nobody = Command(master, TASKYARD_URL=f"manager://127.0.0.1:{free_port()}").run("health")
    assert nobody.returncode == 69
    assert nobody.stderr.startswith("taskyard: no master answers")
    assert Command(master, TASKYARD_AUTHKEY="another").run("health").returncode == 77
    assert Command(master, TASKYARD_URL="nonsense").run("health").returncode == 78


def test_help_lists_every_command(own_master: MasterProcess) -> None:
    told = Command(own_master).ask("--help")
    assert tuple(re.findall(r"^  (\w+)  +\w", told.split("Commands:")[1], re.MULTILINE)) == COMMANDS
    assert "--install-completion" in told


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_each_command_has_an_example(name: str, own_master: MasterProcess) -> None:
    told = " ".join(Command(own_master).ask(name, "--help").split())
    assert re.search(rf"Examples?: .*taskyard {name}", told)


@pytest.mark.parametrize(
    ("program", "example"),
    [("master", "MASTER_HOST=0.0.0.0 python -m master"), ("worker", "WORKER_SLOTS=auto WORKER_APP=mine.tasks python -m worker")],
)
def test_help_of_the_programs_has_an_example(program: str, example: str, own_master: MasterProcess) -> None:
    ended = run(own_master.environment(), program, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert example in ended.stdout


@pytest.mark.parametrize(
    "words",
    [
        "taskyard nonsense",
        "master nonsense",
        "worker nonsense",
        "taskyard health --nonsense",
        "taskyard tasks --state nonsense",
        "taskyard submit square --kwargs nonsense",
        "taskyard map square nonsense",
        "taskyard cancel nonsense --job too",
    ],
)
def test_a_wrong_command_is_exit_2_with_usage(words: str, own_master: MasterProcess) -> None:
    ended = run(own_master.environment(), *words.split())
    assert ended.returncode == 2
    assert "usage" in ended.stderr.lower()
    assert "nonsense" in ended.stderr or "--job" in ended.stderr


def test_the_shell_completes_commands(own_master: MasterProcess) -> None:
    command = Command(own_master, _TASKYARD_COMPLETE="complete_bash", COMP_WORDS="taskyard re", COMP_CWORD="1")
    assert command.run().stdout.split() == ["results", "resume", "retry"]


@pytest.mark.parametrize("program", ["master", "worker"])
def test_the_health_commands_of_master_and_worker_tell_whether_they_are_well(
    program: str, worker: WorkerProcess, tmp_path: Path
) -> None:
    wait_until(lambda: run(worker.environment, program, "health").returncode == 0, f"the {program} is well")
    elsewhere = worker.environment | {f"{program.upper()}_HEALTH_FILE": str(tmp_path / "no such file")}
    asked = run(elsewhere, program, "health")
    assert (asked.returncode, asked.stdout) == (1, "not ready yet\n")


# The README


def readme_lines() -> list[list[str]]:
    """The commands of the README's section "Without Docker"."""
    section = (ROOT / "README.md").read_text().split("\n## Without Docker\n")[1].split("\n## ")[0]
    (block,) = re.findall(r"```console\n(.*?)```", section, re.DOTALL)
    return [shlex.split(line) for line in block.splitlines()]


@pytest.fixture
def terminals(own_master: MasterProcess) -> Iterator[list[subprocess.Popen[str]]]:
    """What was started in the background."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for program in started:
        program.kill()
        program.communicate()


def test_the_readmes_three_lines_are_a_cluster_without_docker(
    own_master: MasterProcess, terminals: list[subprocess.Popen[str]]
) -> None:
    *background, job = readme_lines()
    assert [words[:2] for words in (*background, job)] == [["python", "-m"]] * 3
    # Ports and files of the test's own; for the rest it is what the README says: the lines, and the key.
    environment = environment_of(own_master, worker_health_file=own_master.folder / "worker-health")
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    terminals.extend(
        subprocess.Popen(words, cwd=own_master.folder, env=environment, stderr=subprocess.PIPE, text=True) for words in background
    )
    ended = subprocess.run(job, cwd=own_master.folder, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    put = [int(n) for line in lines for n in re.findall(r"^Put task (\d+)\.\.\.$", line)]
    assert len(put) == 10
    assert sorted(line for line in lines if line.startswith("Result: ")) == sorted(f"Result: {square(n)}" for n in put)
    assert re.fullmatch(r"10 of 10 results in [\d.]+ s, by 1 workers", lines[-1])
