"""deploy/keys.sh: the files with the keys of the roles, changed in place."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from taskyard.keys import read_keys
from tests.contract.master_process import ROOT


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A clone, as far as the script is concerned, with a key for each role."""
    (tmp_path / "deploy").mkdir()
    shutil.copy(ROOT / "deploy" / "keys.sh", tmp_path / "deploy")
    run(tmp_path, "make")
    return tmp_path


def run(folder: Path, *words: str, before: str = "") -> int:
    return subprocess.run(["bash", "-c", f'{before}exec deploy/keys.sh "$@"', "-", *words], cwd=folder, timeout=30).returncode


def test_a_new_key_comes_first_and_later_stays_alone_in_the_same_file(folder: Path) -> None:
    file = folder / "keys" / "worker"
    number, first = file.stat().st_ino, read_keys(file)
    assert run(folder, "rotate", "worker") == 0
    new, *older = read_keys(file)
    assert older == first
    file.write_text("\n" + file.read_text())  # as an editor may leave it
    assert run(folder, "retire", "worker") == 0
    assert read_keys(file) == [new]
    assert file.stat().st_ino == number  # containers see the file, not its name
    assert sorted(path.name for path in (folder / "keys").iterdir()) == ["admin", "client", "worker"]


def test_no_key_is_lost_when_there_is_no_room_for_another(folder: Path) -> None:
    file = folder / "keys" / "worker"
    before = file.read_bytes()
    for command in ("rotate", "retire"):
        assert run(folder, command, "worker", before="trap '' XFSZ; ulimit -f 0; ") != 0
        assert file.read_bytes() == before
