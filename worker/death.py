"""Why a slot died, in words."""

from __future__ import annotations

import signal
from pathlib import Path


def cause_of(exitcode: int | None, over_limit: float, ran_out_of_memory: bool) -> str:
    """The cause of a dead slot's attempt; ``over_limit``: the time limit in s for which it was killed, 0 if it was not."""
    if over_limit:
        return f"time limit: still running after {over_limit:g} s"
    if exitcode is None or exitcode >= 0:
        return f"exit: the task ended its process with status {exitcode}"
    if -exitcode == signal.SIGKILL and ran_out_of_memory:
        limit = memory_limit()
        return "out of memory: killed by the kernel" + (f" at the limit of {limit // 2**20:,} MiB" if limit else "")
    try:
        name = signal.Signals(-exitcode).name
    except ValueError:
        name = "unknown"
    return f"signal: {name} ({-exitcode})"


class OomCounter:
    """Watches the control group's count of processes that were killed for want of memory."""

    def __init__(self) -> None:
        self._seen = oom_kills()

    def has_grown(self) -> bool:
        """Whether the kernel has killed since the last call."""
        before, self._seen = self._seen, oom_kills()
        return self._seen > before


def oom_kills() -> int:
    """``oom_kill`` of this process's control group: v2 ``memory.events``, v1 ``memory.oom_control``; 0 where there is none."""
    for name in ("memory.events", "memory.oom_control"):
        for folder in _folders():
            for line in _lines(folder / name):
                key, _, value = line.partition(" ")
                if key == "oom_kill":
                    return int(value)
    return 0


def memory_limit() -> int:
    """Bytes that this control group may use; 0: no limit known."""
    for name in ("memory.max", "memory.limit_in_bytes"):
        for folder in _folders():
            for line in _lines(folder / name):
                if line.isdigit() and int(line) < 2**60:
                    return int(line)
    return 0


def _folders() -> list[Path]:
    """Where this process's memory group may be: at the mount's root in a container, below it on a host."""
    folders = [Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory")]
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            folders.insert(0, Path("/sys/fs/cgroup") / controllers / path.lstrip("/"))
    return folders


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
