"""The master's data: what can't be used is said in one line, what was acknowledged is there after every end."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import pytest

from tests.contract.master_process import MasterProcess
from tests.harness import task
from tests.programs.worker_process import environment_of, run

FILE = "taskyard.db"
ACKNOWLEDGED = 500


@pytest.fixture(scope="module")
def used_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a master that has served and was stopped."""
    master = MasterProcess(tmp_path_factory.mktemp("used"))
    master.start()
    with master.queue() as queue:
        assert queue.submit([task(f"id-{n}", payload=os.urandom(200)) for n in range(ACKNOWLEDGED)]) == ACKNOWLEDGED
    assert master.stop() == 0
    master.close()
    return master.folder / "data"


@pytest.fixture
def used_folder(used_once: Path, own_master: MasterProcess) -> Path:
    """A copy of it under a master that has not started yet."""
    return Path(shutil.copytree(used_once, own_master.folder / "data"))


def overwrite_header(folder: Path) -> None:
    with (folder / FILE).open("r+b") as file:
        file.write(b"no database " * 10)


def overwrite_pages(folder: Path) -> None:
    size = (folder / FILE).stat().st_size
    with (folder / FILE).open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * (size - 16384))


def cut_in_half(folder: Path) -> None:
    os.truncate(folder / FILE, (folder / FILE).stat().st_size // 2)


def raise_version(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE)) as db:
        db.execute("PRAGMA user_version=99")


RESTORE = "move it away and restore a backup, or start with an empty folder"


@pytest.mark.parametrize(
    ("harm", "said", "what_to_do"),
    [
        (overwrite_header, "is damaged", RESTORE),
        (overwrite_pages, "is damaged", RESTORE),
        (cut_in_half, "is damaged", RESTORE),
        (raise_version, "was written by a newer release (format 99;", "run that release, or set MASTER_DATA to another folder"),
    ],
)
def test_a_file_that_cannot_be_used_is_exit_74_and_one_line_with_a_way_out(
    harm: Callable[[Path], None], said: str, what_to_do: str, own_master: MasterProcess, used_folder: Path
) -> None:
    harm(used_folder)
    ended = run(own_master.environment(), "master")
    assert ended.returncode == 74
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"master: {used_folder / FILE} {said}")
    assert line.endswith(what_to_do)


def test_a_folder_that_is_a_file_is_exit_74_and_one_line(own_master: MasterProcess) -> None:
    (own_master.folder / "data").write_text("not a folder")
    ended = run(own_master.environment(), "master")
    assert ended.returncode == 74
    (line,) = ended.stderr.splitlines()
    assert line.startswith(f"master: {own_master.folder / 'data' / FILE} can't be opened: ")
    assert line.endswith("the folder must exist and be writable by the master's user")


def test_a_second_master_on_the_same_file_is_exit_74_and_does_the_first_no_harm(own_master: MasterProcess) -> None:
    own_master.start()
    ended = run(
        environment_of(own_master, master_port=0, master_health_file=own_master.folder / "health-of-the-second"), "master"
    )
    assert ended.returncode == 74
    (line,) = ended.stderr.splitlines()
    path = own_master.folder / "data" / FILE
    assert line == f"master: {path} is in use by another master: stop that one, or set MASTER_DATA to another folder"
    with own_master.queue() as queue:
        assert queue.submit([task("after")]) == 1


@pytest.mark.parametrize(("number", "code"), [(SIGTERM, 0), (SIGINT, 0), (SIGKILL, -SIGKILL)])
def test_what_was_acknowledged_is_there_after_every_end(number: Signals, code: int, own_master: MasterProcess) -> None:
    own_master.start()
    assert own_master.process is not None
    with own_master.queue() as queue:
        assert queue.submit([task(f"id-{n}") for n in range(ACKNOWLEDGED)]) == ACKNOWLEDGED
        own_master.process.send_signal(number)
        assert own_master.process.wait(20) == code
        own_master.start()
        assert queue.stats()["ready"] == ACKNOWLEDGED
        assert [found.id for found in queue.find("ready", "job", 3, 0)] == ["id-0", "id-1", "id-2"]
    assert "Traceback" not in own_master.log()
