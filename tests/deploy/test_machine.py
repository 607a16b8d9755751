"""A bare machine: from nothing to results, then updates that come and one that goes; what the queue holds outlives them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import pytest

from tests.deploy.conftest import commit
from tests.deploy.machine import Machine, run
from tests.measured import tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

STEPS: dict[str, str] = {}
"""What the steps so far have left, for those that follow: a version, a job."""


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
    print(ended.stdout)
    assert (ended.returncode != 0) == (code != 0), ended.stdout
    tell(f"make {' '.join(words)}: {monotonic() - begun:.0f} s")
    return ended.stdout


def test_a_machine_that_cannot_be_reached_is_named(source: Path, machine: Machine) -> None:
    environment = {**os.environ, "SSH": machine.ssh}
    said = run("deploy/deploy.sh", "nobody@127.0.0.1", cwd=source, env=environment, stdin=subprocess.DEVNULL, check=False)
    assert "can't log in at nobody@127.0.0.1" in said


def test_from_nothing_to_results(source: Path, machine: Machine) -> None:
    assert "not found" in machine.inside("docker --version", check=False)
    said = make(source, machine, "deploy", "WORKERS=2")
    assert "smoke test: square 12 -> 12 * 12 = 144" in said
    assert f"ssh -L 8080:127.0.0.1:8080 {machine.user}" in said
    assert "http://127.0.0.1:8080/" in said
