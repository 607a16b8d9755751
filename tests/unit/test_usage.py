"""What a worker's processes take, as the system counts it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from worker.usage import SHORTEST, Meter, Usage

TICK, PAGE = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")


class Machine:
    """A /proc of a test's own, and its clock."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 100.0

    def process(self, pid: int, seconds: float, pages: int, children: str = "") -> None:
        folder = self.folder / str(pid)
        (folder / "task" / str(pid)).mkdir(parents=True, exist_ok=True)
        ticks = int(seconds * TICK)
        (folder / "stat").write_text(f"{pid} (a (name) S) S 1 1 1 0 -1 0 0 0 0 0 {ticks // 2} {ticks - ticks // 2} 99 99 20 0\n")
        (folder / "statm").write_text(f"9999 {pages} 5 1 0 9 0\n")
        (folder / "task" / str(pid) / "children").write_text(children)

    def meter(self) -> Meter:
        return Meter(1, self.folder, lambda: self.now)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_processors_and_memory_of_all_that_descend_are_added_up(machine: Machine) -> None:
    machine.process(1, 10, 100, "2 3 ")
    machine.process(2, 5, 200, "4 ")
    machine.process(3, 0, 300)
    machine.process(4, 1, 400)
    machine.process(5, 77, 999)  # of somebody else
    meter = machine.meter()
    machine.now += 2
    machine.process(1, 10.5, 100, "2 3 ")
    machine.process(2, 6, 200, "4 ")
    machine.process(4, 3, 400)
    assert meter.look() == Usage(1.75, 1000 * PAGE)


def test_a_process_counts_from_its_birth_and_no_more_after_its_end(machine: Machine) -> None:
    machine.process(1, 0, 1, "2 ")
    machine.process(2, 50, 1)
    meter = machine.meter()
    machine.now += 1
    machine.process(1, 0, 1, "3 ")
    machine.process(3, 0.5, 1)
    assert meter.look() == Usage(0.5, 2 * PAGE)


def test_memory_is_known_at_once_and_processors_after_a_while(machine: Machine) -> None:
    machine.process(1, 10, 100)
    assert machine.meter().look() == Usage(0.0, 100 * PAGE)


def test_looks_that_follow_each_other_closely_tell_the_same(machine: Machine) -> None:
    machine.process(1, 0, 1)
    meter = machine.meter()
    machine.now += 1
    machine.process(1, 1, 1)
    first = meter.look()
    machine.now += SHORTEST / 2
    machine.process(1, 2, 1)
    assert meter.look() == first == Usage(1.0, PAGE)
    machine.now += 1
    assert 0.8 < meter.look().cpu < 0.9


def test_a_system_without_proc_tells_nothing(machine: Machine) -> None:
    meter = machine.meter()
    machine.now += 1
    assert meter.look() == Usage(0.0, 0)


def test_this_process_and_a_child_of_it_are_seen() -> None:
    now = [0.0]
    alone = Meter(now=lambda: now[0])
    now[0] += 1
    before = alone.look().memory
    child = "import sys; data = bytearray(b'x' * 50_000_000); print(flush=True); sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", child], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        now[0] += 1
        used = alone.look()
        process.communicate()
    assert used.memory > before + 50_000_000
    assert used.cpu > 0
