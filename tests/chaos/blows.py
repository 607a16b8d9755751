"""One function per blow. Each strikes, holds as long as the plan says, and undoes itself, whatever comes in between."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP

from docker.errors import APIError
from docker.models.containers import Container

from tests.chaos.ground import WORKERS, Ground, cgroup_file, persist, pid_of
from tests.chaos.schedule import Blow, Kind
from tests.cluster.project import signal_all
from tests.harness import wait_until

STRIKE = """
import os, sys, time
who, number, in_commit = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "in-commit"
def fields(path): return open(path + "/stat").read().rpartition(")")[2].split()
def is_slot(pid): return b"spawn_main" in open(f"/proc/{pid}/cmdline", "rb").read()
def writes(pid): return any(fields(f"/proc/{pid}/task/{thread}")[0] == "D" for thread in os.listdir(f"/proc/{pid}/task"))
hit = []
for pid in filter(str.isdigit, os.listdir("/proc")):
    try:
        above = fields(f"/proc/{pid}")[1]
        if who == "first" and above == "1" or who == "slots" and above != "0" and is_slot(pid):
            hit.append(int(pid))
    except OSError:
        pass
end = time.monotonic() + 2
late = False
while in_commit and hit and not writes(hit[0]) and not late:
    late = time.monotonic() > end
for pid in hit:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
print(0 if late else len(hit))
"""
"""Run in the container, as the programs' own user. D: the thread waits for its disk. What is hit too late does not count."""
FILL = """
import os
free = os.statvfs("/var/lib/taskyard")
with open("/var/lib/taskyard/ballast", "wb", buffering=0) as file:
    try:
        os.posix_fallocate(file.fileno(), 0, max(1, free.f_bavail - 64) * free.f_frsize)
        file.seek(0, 2)
        while True:
            file.write(bytes(4096))
    except OSError as error:
        print(error.strerror)
"""
CLOCK_STEPS = (5, 60, 3600, 86400)
SLOW_WRITES = (4, 10, 30)
"""Writes a second that the disk takes."""


class Turn:
    """One blow's time on the ground. ``stopped``: the run is being ended, nothing is held any longer. ``most``: workers that
    are hit at a time."""

    def __init__(self, ground: Ground, blow: Blow, stopped: threading.Event, most: int) -> None:
        self.ground = ground
        self.random = Random(blow.seed)
        self._stopped = stopped
        self._most = most
        self._until = time.monotonic() + blow.seconds

    def hold(self) -> None:
        """Wait until it is over."""
        self._stopped.wait(max(0.0, self._until - time.monotonic()))

    def again(self, least: float, most: float) -> bool:
        """Wait a while between two strikes; whether there is time for one more."""
        pause = self.random.uniform(least, most)
        return not self._stopped.wait(pause) and time.monotonic() < self._until

    def some_workers(self) -> list[Container]:
        found = self.ground.workers()
        return self.random.sample(found, self.random.randint(1, min(self._most, len(found))))


def deal(ground: Ground, blow: Blow, stopped: threading.Event, most: int = WORKERS) -> int:
    """Let it fall; returns how many were hit. Raises what the engine says if it could not fall or not be undone.

    ``most``: workers that are hit at a time.
    """
    return BLOWS[blow.kind](Turn(ground, blow, stopped, most))


# Signals


def strike(container: Container, who: str, number: int, when: str = "now") -> int:
    """Send a signal to ``first`` (the program itself) or its ``slots``; returns to how many processes."""
    try:
        output = container.exec_run(["python", "-c", STRIKE, who, str(number), when]).output
    except APIError:
        return 0  # it is just down
    assert isinstance(output, bytes)
    told = output.decode().strip()
    return int(told) if told.isdigit() else 0


def kill_again_and_again(turn: Turn, victims: Callable[[], list[Container]], who: str, when: str = "now") -> int:
    hit = 0
    while True:
        hit += sum(strike(container, who, SIGKILL, when) for container in victims())
        if not turn.again(0.3, 3.0):
            return hit


def freeze(turn: Turn, victims: list[Container], who: str) -> int:
    with ExitStack() as undo:
        hit = 0
        for container in victims:
            undo.callback(persist, lambda container=container: signal_all(container, SIGCONT))
            hit += strike(container, who, SIGSTOP)
        turn.hold()
    return hit


# Containers


def kill_containers(turn: Turn, victims: list[Container]) -> int:
    with ExitStack() as undo:
        for container in victims:
            undo.callback(persist, container.start)
            persist(container.kill)
        turn.hold()
    return len(victims)


def pause_containers(turn: Turn, victims: list[Container]) -> int:
    with ExitStack() as undo:
        for container in victims:
            persist(container.pause)
            undo.callback(container.unpause)
        turn.hold()
    return len(victims)


def scale_workers(turn: Turn) -> int:
    number = turn.random.choice([1, 2, 3, 7, 9])
    scale = ("up", "--detach", "--no-deps", "--no-recreate", "worker", "--scale")
    try:
        turn.ground.project.compose(*scale, f"worker={number}")
        turn.hold()
    finally:
        turn.ground.project.compose(*scale, f"worker={WORKERS}")
    return abs(number - WORKERS)


# The network


def unplug(turn: Turn, victims: list[Container]) -> int:
    network = turn.ground.network()
    with ExitStack() as undo:
        for container in victims:
            container.reload()
            aliases = container.attrs["NetworkSettings"]["Networks"][network.name]["Aliases"]
            undo.callback(persist, lambda container=container, aliases=aliases: network.connect(container, aliases=aliases))
            persist(lambda container=container: network.disconnect(container, force=True))  # type: ignore[misc]
        turn.hold()
    return len(victims)


def cut(turn: Turn, victims: list[Container], way: str) -> int:
    """Drop what comes in, or what goes out; the other way is open."""
    rule = ["INPUT", "!", "-i", "lo", "-j", "DROP"] if way == "in" else ["OUTPUT", "!", "-o", "lo", "-j", "DROP"]
    with ExitStack() as undo:
        for container in victims:
            undo.enter_context(_rule(pid_of(container), rule))
        turn.hold()
    return len(victims)


@contextmanager
def _rule(pid: int, rule: list[str]) -> Iterator[None]:
    enter = ["nsenter", "--target", str(pid), "--net", "iptables", "--wait"]
    if pid:
        subprocess.run([*enter, "--append", *rule], check=True, capture_output=True)
    try:
        yield
    finally:
        # A container that has ended meanwhile has taken its rules along.
        if pid and Path(f"/proc/{pid}").exists():
            subprocess.run([*enter, "--delete", *rule], check=True, capture_output=True)


# Disk and clock


def fill_disk(turn: Turn) -> int:
    master = turn.ground.master()

    def remove() -> None:
        left = persist(lambda: master.exec_run(["rm", "-f", "/var/lib/taskyard/ballast"]))
        assert left.exit_code == 0, left.output

    try:
        said = persist(lambda: master.exec_run(["python", "-c", FILL])).output
        turn.hold()
    finally:
        remove()
    return int(b"No space left" in said)


def slow_disk(turn: Turn) -> int:
    """Writes are throttled by the kernel, as the cgroup of the master asks for."""
    assert turn.ground.disk is not None
    pid = wait_until(lambda: pid_of(turn.ground.master()), "the master runs, if another blow has ended it")
    device = Path("/sys/block", Path(turn.ground.disk).name, "dev").read_text().strip()
    path, unified = cgroup_file(pid, "blkio.throttle.write_iops_device", "io.max")
    number = turn.random.choice(SLOW_WRITES)
    try:
        path.write_text(f"{device} wiops={number}" if unified else f"{device} {number}")
        turn.hold()
    finally:
        path.write_text(f"{device} wiops=max" if unified else f"{device} 0")
    return 1


def step_clock(turn: Turn, service: str) -> int:
    """Forwards or back, and later the other way."""
    try:
        turn.ground.set_clock(service, turn.random.choice([-1, 1]) * turn.random.choice(CLOCK_STEPS))
        turn.hold()
    finally:
        turn.ground.set_clock(service, 0)
    return 1


BLOWS: dict[Kind, Callable[[Turn], int]] = {
    "kill slots": lambda turn: kill_again_and_again(turn, turn.some_workers, "slots"),
    "stop slots": lambda turn: freeze(turn, turn.some_workers(), "slots"),
    "kill supervisors": lambda turn: kill_again_and_again(turn, turn.some_workers, "first"),
    "stop supervisors": lambda turn: freeze(turn, turn.some_workers(), "first"),
    "kill workers": lambda turn: kill_containers(turn, turn.some_workers()),
    "pause workers": lambda turn: pause_containers(turn, turn.some_workers()),
    "unplug workers": lambda turn: unplug(turn, turn.some_workers()),
    "deafen workers": lambda turn: cut(turn, turn.some_workers(), "in"),
    "mute workers": lambda turn: cut(turn, turn.some_workers(), "out"),
    "unplug client": lambda turn: unplug(turn, [turn.ground.client()]),
    "scale workers": scale_workers,
    "step workers' clock": lambda turn: step_clock(turn, "worker"),
    "kill master": lambda turn: kill_again_and_again(turn, lambda: [turn.ground.master()], "first"),
    "kill master in commits": lambda turn: kill_again_and_again(turn, lambda: [turn.ground.master()], "first", "in-commit"),
    "stop master": lambda turn: freeze(turn, [turn.ground.master()], "first"),
    "kill master's container": lambda turn: kill_containers(turn, [turn.ground.master()]),
    "pause master": lambda turn: pause_containers(turn, [turn.ground.master()]),
    "unplug master": lambda turn: unplug(turn, [turn.ground.master()]),
    "deafen master": lambda turn: cut(turn, [turn.ground.master()], "in"),
    "mute master": lambda turn: cut(turn, [turn.ground.master()], "out"),
    "fill disk": fill_disk,
    "slow disk": slow_disk,
    "step master's clock": lambda turn: step_clock(turn, "master"),
}
NEEDS: dict[Kind, str] = {
    **dict.fromkeys(["deafen workers", "mute workers", "deafen master", "mute master"], "root"),
    **dict.fromkeys(["fill disk", "slow disk"], "disk"),
    **dict.fromkeys(["step workers' clock", "step master's clock"], "clock"),
}
"""What may not be there; see `tests.chaos.ground.Ground.missing`."""
