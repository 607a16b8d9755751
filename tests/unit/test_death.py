"""Why a slot died, in words, and what the kernel tells of memory in either version of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from taskyard.model import CAUSES
from worker import death

V2 = "0::/pod/worker\n"
COLON = "0::/system.slice:cri-containerd:worker\n"
V1 = "12:cpu,cpuacct:/pod\n9:memory:/pod/worker\n0::/elsewhere\n"


class Root:
    """A root directory of the test's own, in the place of the system's."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def at(self, name: str | Path) -> Path:
        return self._folder / str(name).lstrip("/")

    def write(self, name: str, content: str) -> None:
        self.at(name).parent.mkdir(parents=True, exist_ok=True)
        self.at(name).write_text(content)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Root:
    """An empty one."""
    made = Root(tmp_path)
    monkeypatch.setattr("worker.death.Path", made.at)
    return made


@pytest.mark.parametrize(
    ("exitcode", "over_limit", "out_of_memory", "cause"),
    [
        (0, 0.0, False, "exit: the task ended its process with status 0"),
        (3, 0.0, False, "exit: the task ended its process with status 3"),
        (3, 0.0, True, "exit: the task ended its process with status 3"),
        (-11, 0.0, False, "signal: SIGSEGV (11)"),
        (-11, 0.0, True, "signal: SIGSEGV (11)"),
        (-9, 0.0, False, "signal: SIGKILL (9)"),
        (-9, 0.0, True, "out of memory: killed by the kernel"),
        (-9, 2.5, False, "time limit: still running after 2.5 s"),
        (-9, 60.0, True, "time limit: still running after 60 s"),
        (-99, 0.0, False, "signal: unknown (99)"),
        (None, 0.0, False, "exit: the task ended its process with status None"),  # its pipe has closed, it has not ended yet
    ],
)
def test_the_cause_of_a_death_is_told(
    exitcode: int | None, over_limit: float, out_of_memory: bool, cause: str, root: Root
) -> None:
    assert death.cause_of(exitcode, over_limit, out_of_memory) == cause
    assert cause.split(":")[0] in CAUSES


def test_a_death_by_memory_tells_the_limit(root: Root) -> None:
    root.write("/sys/fs/cgroup/memory.max", f"{512 * 2**20}\n")
    assert death.cause_of(-9, 0.0, True) == "out of memory: killed by the kernel at the limit of 512 MiB"


@pytest.mark.parametrize(
    ("groups", "file", "content"),
    [
        (V2, "/sys/fs/cgroup/memory.events", "low 0\nhigh 0\nmax 7\noom 3\noom_kill 2\noom_group_kill 0\n"),
        (V2, "/sys/fs/cgroup/pod/worker/memory.events", "oom 3\noom_kill 2\n"),
        (V1, "/sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
        (V1, "/sys/fs/cgroup/memory/pod/worker/memory.oom_control", "oom_kill_disable 0\noom_kill 2\n"),
        ("", "/sys/fs/cgroup/memory.events", "oom_kill 2\n"),
        (COLON, "/sys/fs/cgroup/system.slice:cri-containerd:worker/memory.events", "oom_kill 2\n"),
    ],
    ids=["v2 container", "v2 host", "v1 container", "v1 host", "no groups told", "colons in the name"],
)
def test_the_kernels_kills_are_counted(groups: str, file: str, content: str, root: Root) -> None:
    if groups:
        root.write("/proc/self/cgroup", groups)
    root.write(file, content)
    assert death.oom_kills() == 2


def test_the_group_nearest_to_the_process_counts(root: Root) -> None:
    root.write("/proc/self/cgroup", V2)
    root.write("/sys/fs/cgroup/memory.events", "oom_kill 9\n")
    root.write("/sys/fs/cgroup/memory.max", "max\n")
    root.write("/sys/fs/cgroup/pod/worker/memory.events", "oom_kill 1\n")
    root.write("/sys/fs/cgroup/pod/worker/memory.max", "1048576\n")
    assert (death.oom_kills(), death.memory_limit()) == (1, 1048576)


@pytest.mark.parametrize(
    ("file", "content", "limit"),
    [
        ("/sys/fs/cgroup/memory.max", "536870912\n", 536870912),
        ("/sys/fs/cgroup/memory.max", "max\n", 0),
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "536870912\n", 536870912),
        # What v1 tells where there is no limit.
        ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n", 0),
    ],
)
def test_the_limit_of_the_memory_is_read_where_there_is_one(file: str, content: str, limit: int, root: Root) -> None:
    root.write(file, content)
    assert death.memory_limit() == limit


def test_where_the_kernel_tells_nothing_nothing_is_assumed(root: Root) -> None:
    assert (death.oom_kills(), death.memory_limit()) == (0, 0)
    assert not death.OomCounter().has_grown()


def test_each_kill_is_told_once_and_those_before_the_start_not_at_all(root: Root) -> None:
    root.write("/sys/fs/cgroup/memory.events", "oom_kill 5\n")
    counter = death.OomCounter()
    assert not counter.has_grown()
    root.write("/sys/fs/cgroup/memory.events", "oom_kill 6\n")
    assert counter.has_grown()
    assert not counter.has_grown()
