"""The examples, run as their READMEs say it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tests.contract.master_process import ROOT

Run = Callable[[list[str]], str]
SCRIPTS = ("sweep", "thumbnails", "webhooks")


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a command of a README to its end, and returns what it printed; it must exit with 0."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("TASKYARD", "MASTER", "WORKER"))}

    def run(words: list[str]) -> str:
        program = {"python": [sys.executable], "taskyard": [sys.executable, "-m", "taskyard"]}[words[0]]
        environment = inherited | {"TMPDIR": str(tmp_path)}
        ended = subprocess.run(
            [*program, *words[1:]], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=90, check=False
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout

    return run


def command(example: str, pattern: str) -> list[str]:
    """The one in its README that looks so."""
    text = (ROOT / "examples" / example / "README.md").read_text()
    (found,) = re.findall(pattern, text)
    return str(found).split()


def check_sweep(printed: str, folder: Path) -> None:
    assert "1797 digits, 2 slots" in printed
    assert re.search(r"support vectors: 0\.97\d+ with {'C': 10, 'gamma': 0.001}", printed)
    assert re.search(r"random forest: 0\.9\d+ with {'max_depth': None, 'n_estimators': 30}", printed)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def check_thumbnails(printed: str, folder: Path) -> None:
    assert "26 pictures: 24 thumbnails" in printed
    assert "broken: half-a-photo.jpg: OSError: image file is truncated" in printed
    assert "broken: no-photo.jpg: UnidentifiedImageError: " in printed
    made = sorted(folder.glob("pictures-*/thumbnails/*.jpg"))
    sizes = {path.name: size_of(path) for path in made}
    assert len(made) == 24
    assert sizes["drawing-00.png.jpg"] == sizes["photo-02.jpg.jpg"] == (160, 120)
    assert sizes["photo-01.jpg.jpg"] == (120, 160)


def check_webhooks(printed: str, folder: Path) -> None:
    assert "10 events for 6 receivers: 60 hooks, submitted twice" in printed
    assert "answered 410 (attempts: 1)" in printed
    assert "1 answer lost, 1 delivery repeated" in printed
    assert int(re.findall(r"(\d+) times refused", printed)[0]) > 0
    assert "60 hooks: 60 acted upon exactly once" in printed


CHECKS = dict(zip(SCRIPTS, (check_sweep, check_thumbnails, check_webhooks), strict=True))


@pytest.mark.parametrize("example", SCRIPTS)
def test_an_example_runs_with_a_cluster_of_its_own(example: str, run: Run, tmp_path: Path) -> None:
    CHECKS[example](run(command(example, r"\n(python -m .*)\n")), tmp_path)
    assert not list(tmp_path.glob("taskyard-*")), "its cluster has left something"


@pytest.mark.parametrize("example", SCRIPTS)
def test_an_example_runs_on_a_cluster_that_is_there_already(example: str, run: Run, tmp_path: Path) -> None:
    CHECKS[example](run(command(example, r"`(taskyard local .*?)`")), tmp_path)
