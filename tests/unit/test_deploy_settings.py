"""What deploy/on-host.sh makes of settings that are brought along, and which machine `make deploy` takes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.contract.master_process import ROOT


def shell(folder: Path, command: str) -> str:
    """Run a command of deploy/on-host/settings.sh in a folder; returns what it printed."""
    words = ["bash", "-euo", "pipefail", "-c", f"umask 022; source {ROOT}/deploy/on-host/settings.sh; {command}"]
    environment = {name: value for name, value in os.environ.items() if name != "WORKERS"}
    return subprocess.run(words, cwd=folder, env=environment, check=True, capture_output=True, text=True).stdout


def test_what_is_brought_along_replaces_the_settings_but_for_what_was_chosen_there(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TASKYARD_VERSION=abc1234\nPYTHON_IMAGE=built/here\nNATS_IMAGE=built/too\nMASTER_LEASE=9\n")
    (tmp_path / ".env.given").write_text("NATS_IMAGE=mine:5\nTASKYARD_VERSION=latest\nTASKYARD_AUTHKEY=a$b\"c'd`e`")
    shell(tmp_path, "take_settings")
    assert (tmp_path / ".env").read_text().splitlines() == [
        "NATS_IMAGE=mine:5",
        "TASKYARD_AUTHKEY=a$b\"c'd`e`",
        "TASKYARD_VERSION=abc1234",
        "PYTHON_IMAGE=built/here",
    ]
    assert {path.name for path in tmp_path.iterdir()} == {".env"}


def test_on_a_new_machine_they_are_all_there_is(tmp_path: Path) -> None:
    (tmp_path / ".env.given").write_text("WORKERS=4\n")
    assert shell(tmp_path, "take_settings; echo $WORKERS") == "4\n"
    assert (tmp_path / ".env").read_text() == "WORKERS=4\n"


@pytest.mark.parametrize("command", ["take_settings", "set_setting WORKERS 3"])
def test_nobody_else_can_read_them_at_any_moment(tmp_path: Path, command: str) -> None:
    (tmp_path / ".env.given").write_text("TASKYARD_AUTHKEY=secret\n")
    shell(tmp_path, f"chmod() {{ :; }}; {command}")  # a mode that is mended afterwards comes too late
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("target", ["deploy", "deploy-update"])
def test_the_machine_is_taken_from_the_command_line_only(target: str) -> None:
    environment = os.environ | {"HOST": "me@this-machine"}  # tcsh exports it
    words = ["make", "--silent", "--no-print-directory", "--dry-run", target]
    told = subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    assert "this-machine" not in told
    told = subprocess.run([*words, "HOST=me@vm"], cwd=ROOT, env=environment, check=True, capture_output=True, text=True).stdout
    assert told.split()[-1] == "me@vm"
