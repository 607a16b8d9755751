"""The command line, and the README's three lines for a cluster without Docker."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from taskyard import Cluster
from tests.contract.master_process import ROOT, MasterProcess
from tests.harness import wait_until
from tests.programs.tasks import square
from tests.programs.worker_process import WorkerProcess, environment_of, run


@pytest.fixture
def environment(master: MasterProcess, worker: WorkerProcess, cluster: Cluster) -> dict[str, str]:
    """Of a cluster with one worker that has done something."""
    assert cluster.submit(square, 3).result(20) == "3 * 3 = 9"
    with master.queue() as queue:
        wait_until(queue.workers, "the worker is heard of")
    return master.environment()


def ask(environment: dict[str, str], *words: str) -> str:
    ended = run(environment, "taskyard", *words)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


# taskyard


def test_health_tells_address_and_workers(environment: dict[str, str], master: MasterProcess) -> None:
    assert ask(environment, "health") == f"{master.url} answers, 1 workers\n"
    assert json.loads(ask(environment, "health", "--json")) == {"url": master.url, "workers": 1}


def test_status_counts_tasks_by_state(environment: dict[str, str], master: MasterProcess) -> None:
    told = json.loads(ask(environment, "status", "--json"))
    with master.queue() as queue:
        assert told == queue.stats()
    assert told["done"] >= 1
    rows = dict(re.findall(r"(\w+)\W+?([\d,]+)\W", ask(environment, "status")))
    assert {state: int(rows[state]) for state in rows} == {
        state: told[state] for state in ("ready", "leased", "delayed", "done", "failed", "cancelled")
    }


def test_workers_lists_who_is_alive_with_slots_and_tasks(environment: dict[str, str]) -> None:
    (told,) = json.loads(ask(environment, "workers", "--json"))
    assert told["slots"] == 1
    assert "square" in told["tasks"]
    assert told["silent"] < 30
    table = ask(environment | {"COLUMNS": "300"}, "workers")
    assert told["session"][:8] in table
    assert told["host"] in table


@pytest.mark.parametrize(
    ("words", "example"),
    [
        ("taskyard health --help", "Example: taskyard health && echo fine"),
        ("taskyard status --help", "Example: taskyard status --json | jq .ready"),
        ("taskyard workers --help", "Example: taskyard workers"),
        ("master --help", "MASTER_HOST=0.0.0.0 python -m master"),
        ("worker --help", "WORKER_SLOTS=auto WORKER_APP=mine.tasks python -m worker"),
    ],
)
def test_help_has_an_example(words: str, example: str, own_master: MasterProcess) -> None:
    ended = run(own_master.environment(), *words.split())
    assert (ended.returncode, ended.stderr) == (0, "")
    assert example in ended.stdout


def test_help_lists_every_command(own_master: MasterProcess) -> None:
    told = run(own_master.environment(), "taskyard", "--help").stdout
    assert [command for command in ("health", "status", "workers") if re.search(rf"^\W*{command}\s", told, re.MULTILINE)] == [
        "health",
        "status",
        "workers",
    ]


@pytest.mark.parametrize("words", ["taskyard nonsense", "master nonsense", "worker nonsense", "taskyard health --nonsense"])
def test_a_wrong_command_is_exit_2_with_usage(words: str, own_master: MasterProcess) -> None:
    ended = run(own_master.environment(), *words.split())
    assert ended.returncode == 2
    assert "usage" in ended.stderr.lower()
    assert "nonsense" in ended.stderr


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
