"""A bare machine: from nothing to results, then updates that come and one that goes; what the queue holds outlives them."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
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
    "changes the queue's file": (  # by now of a format that no release knows
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


def change_what_slow_says(source: Path, words: str) -> None:
    tasks = source / "app/tasks.py"
    tasks.write_text(re.sub(r'return f"I .* {seconds} s"', f'return f"{words} {{seconds}} s"', tasks.read_text()))


@contextmanager
def a_bad_version(source: Path, harm: str) -> Iterator[str]:
    """A commit, while this lasts, whose master does a harm; gives its version."""
    good = run("git", "rev-parse", "HEAD", cwd=source).strip()
    program = source / "master/__main__.py"
    program.write_text(program.read_text().replace("def main() -> int:\n", f"def main() -> int:\n    {HARMS[harm]}\n"))
    try:
        yield commit(source, f"A master that {harm}")
    finally:
        run("git", "reset", "--quiet", "--hard", good, cwd=source)


def what_is_deployed(machine: Machine) -> str:
    return machine.inside("cd /opt/taskyard && grep TASKYARD_VERSION= .env && git rev-parse HEAD && git status --short")


def goes_on_with_what_it_had(machine: Machine) -> None:
    assert machine.cli("results", "slow", "--json") == RESULTS["before"]
    assert machine.cli("submit", "square", "5", "--wait") == '"5 * 5 = 25"\n'
    machine.cli("verify")


def format_by(version: str, machine: Machine) -> str:
    """The number of the queue's format, once this version's master has begun to run."""
    look = "import sqlite3; print(*sqlite3.connect('/d/taskyard.db').execute('PRAGMA user_version').fetchone())"
    inside = f'docker run --rm --volume taskyard_data:/d --entrypoint python taskyard/master:{version} -c "{look}"'
    return machine.inside(f"docker ps | grep -q taskyard/master:{version} && {inside}", check=False)


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
    (tmp_path / "my.env").write_text("WORKERS=2\nTASKYARD_LOG_LEVEL=warning\nWORKER_GRACE=3\n")
    assert "not found" in machine.inside("docker --version", check=False)
    said = make(source, machine, "deploy", f"ENV={tmp_path}/my.env")
    assert "smoke test: square 12 -> 12 * 12 = 144" in said
    assert f"ssh -L 8080:127.0.0.1:8080 {machine.user}" in said
    assert "http://127.0.0.1:8080/" in said
    assert "TASKYARD_LOG_LEVEL=warning" in machine.inside("docker inspect taskyard-worker-2")
    assert machine.inside("stat -c %a /opt/taskyard /opt/taskyard/.env").split() == ["750", "600"]


def test_deploying_again_changes_nothing_but_what_an_update_has_left_halfway(source: Path, machine: Machine) -> None:
    look = "cd /opt/taskyard && docker ps --no-trunc -q | sort && sort .env && ls -A"
    before = machine.inside(look)
    halfway = "mkdir .update && git rev-parse HEAD >.update/commit && echo 2 >.update/workers && cp .env .update/former.env"
    machine.inside(f"cd /opt/taskyard && {halfway} && echo MASTER_LEASE=9 >>.env")
    assert "an update was interrupted here" in make(source, machine, "deploy")
    assert machine.inside(look) == before


def test_a_queue_that_is_busy_or_paused_fails_no_deployment(source: Path, machine: Machine) -> None:
    for _ in range(2):
        machine.cli("submit", "slow", "600", "--job", "busy")
    wait_until(lambda: machine.cli("tasks", "--job", "busy").count("leased") == 2, "both slots are busy")
    assert "left out, since all slots are busy" in make(source, machine, "deploy", "SMOKE_SECONDS=3")
    machine.cli("pause")
    assert "left out, since the queue is paused" in make(source, machine, "deploy")
    machine.cli("resume")
    machine.cli("cancel", "--job", "busy")


def test_of_two_deployments_at_a_time_one_is_refused(source: Path, machine: Machine) -> None:
    flock = ["docker", "exec", "-i", machine.name, "flock", "/opt/taskyard/.deploying", "sh", "-c", "echo held; cat"]
    with subprocess.Popen(flock, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        assert "another deployment is under way" in make(source, machine, "deploy", code=75)
        other.stdin.close()


def test_an_update_lets_what_runs_finish_and_leaves_alone_what_is_not_its_own(source: Path, machine: Machine) -> None:
    beside = (
        "services: { beside: { image: $(docker inspect -f {{.Config.Image}} taskyard-worker-1), entrypoint: [sleep, infinity] } }"
    )
    machine.inside(f'cd /opt/taskyard && echo "{beside}" | docker compose -f compose.yaml -f - up --detach --no-deps beside')
    before = machine.inside("docker compose -p taskyard ps -q beside")
    # A worker that has drained already is there, and heard of no more.
    drained = machine.inside("docker compose -p taskyard ps -q worker").split()[0][:12]
    machine.cli("drain", drained)
    wait_until(lambda: drained not in machine.cli("workers"), "one has drained")
    machine.cli("submit", "slow", "40", "--job", "slow")
    wait_until(lambda: "leased" in machine.cli("tasks", "--job", "slow"), "it runs")
    change_what_slow_says(source, "I slept")
    version = commit(source, "Say it otherwise")
    said = make(source, machine, "deploy-update")
    assert f"{version} runs with 2 workers" in said
    assert machine.cli("results", "slow").split("\t")[1] == '"I have slept 40 s"\n'  # begun and ended by the former version
    assert machine.cli("submit", "slow", "0", "--wait") == '"I slept 0 s"\n'
    assert machine.inside("docker compose -p taskyard ps -q beside") == before
    RESULTS["before"] = machine.cli("results", "slow", "--json")


def test_an_update_is_not_held_up_by_long_tasks_that_wait(source: Path, machine: Machine) -> None:
    for _ in range(4):
        machine.cli("submit", "slow", "600", "--job", "long")
    wait_until(lambda: machine.cli("tasks", "--job", "long").count("leased") == 2, "both slots are busy")
    change_what_slow_says(source, "I dozed")
    version = commit(source, "Say it otherwise again")
    said = make(source, machine, "deploy-update", "DRAIN_SECONDS=0")
    assert "smoke test: square 12 -> 12 * 12 = 144" in said
    assert f"{version} runs with 2 workers" in said
    machine.cli("cancel", "--job", "long")


@pytest.mark.parametrize("harm", ["ends at once", "changes the queue's file"])
def test_a_bad_update_is_rolled_back_and_nothing_is_lost(source: Path, machine: Machine, harm: str) -> None:
    before = what_is_deployed(machine)
    with a_bad_version(source, harm) as version:
        said = make(source, machine, "deploy-update", "WAIT_SECONDS=60", code=1)
    assert f"{version} did not get well: rolling back" in said
    assert ("changed the queue's format" in said) == (harm != "ends at once")
    assert what_is_deployed(machine) == before
    goes_on_with_what_it_had(machine)


def test_an_update_that_lost_its_power_is_undone_at_the_next_boot(source: Path, machine: Machine) -> None:
    before = what_is_deployed(machine)
    kept = machine.inside("ls /opt/taskyard/backups").split()
    with a_bad_version(source, "changes the queue's file") as version:
        words = ["make", "--silent", "deploy-update", f"HOST={machine.user}"]
        with subprocess.Popen(words, cwd=source, env=machine.environment(), stdin=subprocess.DEVNULL) as update:
            wait_until(lambda: format_by(version, machine) == "9999\n", "the new version has changed the queue", 240)
            machine.cut_power()
            update.kill()
    assert what_is_deployed(machine) != before
    begun = monotonic()
    said = machine.inside("/opt/taskyard/deploy/on-host.sh boot")  # what the unit does
    tell(f"from a boot to healthy, an update undone: {monotonic() - begun:.0f} s")
    assert "an update was interrupted here" in said
    assert what_is_deployed(machine) == before
    assert set(kept) < set(machine.inside("ls /opt/taskyard/backups").split())  # none was overwritten
    goes_on_with_what_it_had(machine)


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
