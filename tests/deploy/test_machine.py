"""A bare machine: from nothing to results, then updates that come and one that goes; what the queue holds outlives them."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from time import monotonic

import pytest

from tests.deploy.conftest import commit
from tests.deploy.machine import Machine, run
from tests.harness import wait_until
from tests.measured import tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

HARMS = {
    "ends at once": "sys.exit(70)",
    "changes the queue's file": (
        "import sqlite3; sqlite3.connect('/var/lib/taskyard/taskyard.db').executescript"
        "('DELETE FROM part; DELETE FROM task; PRAGMA user_version=9999'); sys.exit(70)"
    ),
}
"""What bad versions of the master do."""
RESULTS: dict[str, str] = {}
"""What the queue told before the bad updates."""


def make(source: Path, machine: Machine, *words: str, code: int = 0) -> str:
    """Run `make` with these words as its user does; returns what it printed."""
    begun = monotonic()
    ended = subprocess.run(
        ["make", "--silent", *words, f"HOST={machine.user}"],
        cwd=source,
        env=machine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    print(ended.stdout)  # for the report of a test that fails
    # Of the recipe's code, make tells only in words.
    assert f"Error {code}" in ended.stdout if code else ended.returncode == 0, ended.stdout
    if code in (0, 1):  # else it was refused before anything was done
        what = " ".join(word for word in words if not word.startswith("ENV="))
        tell(f"make {what}{' (rolled back)' * code}: {monotonic() - begun:.0f} s")
    return ended.stdout


def test_a_machine_that_cannot_be_reached_is_named(source: Path, machine: Machine) -> None:
    environment = {**os.environ, "SSH": machine.ssh}
    said = run("deploy/deploy.sh", "nobody@127.0.0.1", cwd=source, env=environment, stdin=subprocess.DEVNULL, check=False)
    assert "can't log in at nobody@127.0.0.1" in said


def test_a_user_who_may_not_sudo_is_told(source: Path, machine: Machine) -> None:
    machine.inside("useradd --create-home plain && cp -r /home/debian/.ssh /home/plain/ && chown -R plain /home/plain/.ssh")
    said = run("deploy/deploy.sh", f"plain@{machine.name}", cwd=source, env=machine.environment(), check=False)
    assert "may not sudo without a password" in said


def test_a_machine_without_room_is_left_alone(source: Path, machine: Machine) -> None:
    said = make(source, machine, "deploy", "ROOM_MB=99999999", code=74)
    assert "99999999 are needed" in said
    assert machine.inside("ls /opt") == ""


def test_an_update_of_nothing_is_refused(source: Path, machine: Machine) -> None:
    assert f"nothing is deployed at {machine.user} yet" in make(source, machine, "deploy-update", code=66)


def test_from_nothing_to_results(source: Path, machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "my.env").write_text("WORKERS=2\nTASKYARD_LOG_LEVEL=warning\n")
    assert "not found" in machine.inside("docker --version", check=False)
    said = make(source, machine, "deploy", f"ENV={tmp_path}/my.env")
    assert "smoke test: square 12 -> 12 * 12 = 144" in said
    assert f"ssh -L 8080:127.0.0.1:8080 {machine.user}" in said
    assert "http://127.0.0.1:8080/" in said
    assert "TASKYARD_LOG_LEVEL=warning" in machine.inside("docker inspect taskyard-worker-2")


def test_deploying_again_changes_nothing(source: Path, machine: Machine) -> None:
    before = machine.inside("docker ps --no-trunc -q | sort")
    make(source, machine, "deploy")
    assert machine.inside("docker ps --no-trunc -q | sort") == before


def test_of_two_deployments_at_a_time_one_is_refused(source: Path, machine: Machine) -> None:
    flock = ["docker", "exec", "-i", machine.name, "flock", "/opt/taskyard/.deploying", "sh", "-c", "echo held; cat"]
    with subprocess.Popen(flock, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert "another deployment is under way" in make(source, machine, "deploy", code=75)
        other.stdin.close()


def test_an_update_lets_what_runs_finish_and_loses_nothing(source: Path, machine: Machine) -> None:
    machine.cli("submit", "slow", "20", "--job", "slow")
    wait_until(lambda: "leased" in machine.cli("tasks", "--job", "slow"), "it runs")
    (source / "app/tasks.py").write_text((source / "app/tasks.py").read_text().replace("I have slept", "I slept"))
    version = commit(source, "Say it otherwise")
    said = make(source, machine, "deploy-update")
    assert f"{version} runs with 2 workers" in said
    assert [(row["state"], row["attempts"]) for row in json.loads(machine.cli("tasks", "--job", "slow", "--json"))] == [
        ("done", 1)
    ]
    assert machine.cli("submit", "slow", "0", "--wait") == '"I slept 0 s"\n'
    RESULTS["before"] = machine.cli("results", "slow", "--json")


@pytest.mark.parametrize("harm", ["ends at once", "changes the queue's file"])
def test_a_bad_update_is_rolled_back_and_nothing_is_lost(source: Path, machine: Machine, harm: str) -> None:
    before = machine.inside("grep TASKYARD_VERSION= /opt/taskyard/.env; git -C /opt/taskyard rev-parse HEAD")
    good = run("git", "rev-parse", "HEAD", cwd=source).strip()
    program = source / "master/__main__.py"
    program.write_text(program.read_text().replace("def main() -> int:\n", f"def main() -> int:\n    {HARMS[harm]}\n"))
    version = commit(source, "A master that never gets well")
    try:
        said = make(source, machine, "deploy-update", "WAIT_SECONDS=40", code=1)
    finally:
        run("git", "reset", "--quiet", "--hard", good, cwd=source)
    assert f"{version} did not get well: rolling back" in said
    assert ("changed the queue's format" in said) == (harm != "ends at once")
    assert machine.inside("grep TASKYARD_VERSION= /opt/taskyard/.env; git -C /opt/taskyard rev-parse HEAD") == before
    assert machine.cli("results", "slow", "--json") == RESULTS["before"]
    assert machine.cli("submit", "square", "5", "--wait") == '"5 * 5 = 25"\n'
    machine.cli("verify")


def test_an_update_that_cannot_be_built_touches_nothing(source: Path, machine: Machine) -> None:
    before = machine.inside("docker ps --no-trunc -q | sort; cat /opt/taskyard/.env")
    good = run("git", "rev-parse", "HEAD", cwd=source).strip()
    (source / "master/Dockerfile").write_text("FROM\n")
    commit(source, "No image")
    try:
        said = make(source, machine, "deploy-update", code=65)
    finally:
        run("git", "reset", "--quiet", "--hard", good, cwd=source)
    assert "nothing was touched" in said
    assert machine.inside("docker ps --no-trunc -q | sort; cat /opt/taskyard/.env") == before
