"""``python -m bench``: each of its own measures, at a size that shows no more than that it works; and its ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.measures import OWN, find
from bench.page import SECTIONS
from tests.harness import wait_until
from tests.programs.conftest import programs

ROOT = Path(__file__).parents[2]
QUICK = [name for name in OWN if name not in ("slots", "sharing")]
"""128 slots take a minute to start, and tasks of a second are not shorter in a small run."""


def bench(*words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "bench", "--rounds", "1", *words]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the page and the files of the quick measures are."""
    out = tmp_path_factory.mktemp("bench")
    with bench(*(word for name in QUICK for word in ("--only", name)), "--scale", "0.001", "--out", str(out)) as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 0, said
    return out


@pytest.mark.parametrize("name", QUICK)
def test_a_measure_keeps_the_figures_of_its_round_and_has_its_section_of_the_page(measured: Path, name: str) -> None:
    record: dict[str, Any] = json.loads((measured / "benchmarks" / f"{name}.json").read_text())
    assert record["machine"]["versions"]["taskyard"]
    assert [point["label"] for point in record["points"]] == [point.label for point in find(name).points(0.001)]
    assert all(len(point["rounds"]) == 1 and point["error"] is None for point in record["points"])
    assert f"## {SECTIONS[name][0]}\n" in (measured / "benchmarks.md").read_text()


def under_way(mark: str) -> subprocess.Popen[str]:
    """A run whose cluster has started."""
    process = bench("--only", "growth", "--scale", "1", "--out", "/nowhere")
    wait_until(lambda: len(programs(mark, "-m worker")) > 0, "a worker runs", 30.0)
    return process


def test_ctrl_c_ends_a_run_and_all_that_it_has_started(mark: str, nothing_is_left: Callable[[], None]) -> None:
    with under_way(mark) as process:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert programs(mark, "-m master") + programs(mark, "-m worker") == []
    wait_until(lambda: not programs(mark), "all have ended, multiprocessing's own helpers too", 2)


def test_a_killed_run_leaves_nothing(mark: str, nothing_is_left: Callable[[], None]) -> None:
    with under_way(mark) as process:
        psutil.Process(process.pid).kill()
        process.communicate(timeout=30)
    nothing_is_left()
