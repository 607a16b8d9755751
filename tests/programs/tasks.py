"""Tasks for these tests: some wait for the test, some misbehave on purpose."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import Any

from app.tasks import square
from taskyard import context, task
from taskyard.context import cancelled, logger, progress

__all__ = ["square"]


class Gate:
    """A folder through which a test sees tasks begin, and lets them end."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def begun(self, name: str) -> list[tuple[int, int]]:
        """Worker's and slot's process id, for each time that the task of this name has begun; the oldest first."""
        marks = sorted(self.folder.glob(f"{name} *.begun"), key=lambda mark: mark.stat().st_mtime_ns)
        return [(int(mark.name.split()[1]), int(mark.name.split()[2])) for mark in marks]

    def open(self) -> None:
        (self.folder / "open").touch()

    def mark(self, name: str) -> None:
        """Called by a task, so that a test sees it begin."""
        (self.folder / f"{name} {os.getppid()} {os.getpid()} {uuid.uuid4().hex}.begun").touch()

    def pass_through(self, name: str) -> int:
        """Called by a task; returns the worker's process id."""
        self.mark(name)
        while not (self.folder / "open").exists():
            time.sleep(0.01)
        return os.getppid()


@task
def held(folder: str, name: str = "task") -> int:
    """End when the gate is open, and say which worker it was."""
    return Gate(Path(folder)).pass_through(name)


@task(retries=100, backoff=0.01)
def noted_square(notes: str, n: int) -> int:
    """A little work that notes when it begins and when it is done (monotonic ns, which all processes of a host share)."""
    with Path(notes).open("a") as file:
        for what in ("attempted", "settled"):
            file.write(f"{time.monotonic_ns()} {what} {context.task_id()} {context.attempt()}\n")
            file.flush()  # one write, so that lines of several processes don't mix
            time.sleep(0.005 * (what == "attempted"))
    return n * n


@task
def slow_square(n: int) -> int:
    """A little work."""
    time.sleep(0.01)
    return n * n


@task
def who(seconds: float) -> int:
    """Some work or none; says which worker it was."""
    if seconds:
        time.sleep(seconds)
    return os.getppid()


@task
def hold_the_lock(folder: str) -> None:
    """Keep the interpreter's lock: one call of C that takes for ever."""
    Gate(Path(folder)).pass_through("lock")
    sum(range(10**13))


@task
def log_a_line(text: str) -> None:
    logging.getLogger("of the task").warning(text)


@task
def environment() -> tuple[dict[str, str], str]:
    """What the task sees, and what a program sees that it starts."""
    return dict(os.environ), subprocess.run(["env"], capture_output=True, text=True, check=True).stdout


@task
def give_back(value: Any) -> Any:
    return value


@task
def pair(first: Any, second: Any) -> tuple[Any, Any]:
    return first, second


@task
def repeat(count: int) -> bytes:
    return b"x" * count


# Exceptions


class Refused(Exception):
    """One with arguments of its own."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


class Unpicklable(Exception):
    """It can be pickled, not unpickled: its arguments are not handed on."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(f"{what}: {why}")


@task
def find_road(name: str) -> None:
    raise LookupError(f"no road to {name}")


@task
def refuse(code: int) -> None:
    raise Refused(code, "we are closed")


@task
def raise_unpicklable() -> None:
    raise Unpicklable("the letter", "no stamp")


@task
def return_unpicklable() -> object:
    return lambda: "a function has no pickle"


# Deaths; the back-off is short, since their retries are not what takes time


@task(backoff=0.05)
def die_by(number: int) -> None:
    os.kill(os.getpid(), number)
    signal.pause()


@task(backoff=0.05)
def die_by_sys_exit(code: int) -> None:
    sys.exit(code)


@task(backoff=0.05)
def die_by_os_exit(code: int) -> None:
    os._exit(code)


@task(backoff=0.05, time_limit=0.4)
def die_by_overrunning() -> None:
    signal.pause()


# Attempts, progress, cancelling


@task(backoff=0.05, retry_on=OSError)
def raise_in_turn(folder: str, *kinds: str) -> int:
    """Raise the exception of this attempt's name; without one, return the attempt's number."""
    Gate(Path(folder)).mark("attempt")
    number = context.attempt()
    if number <= len(kinds):
        raise {"OSError": OSError, "FileNotFoundError": FileNotFoundError, "ValueError": ValueError}[kinds[number - 1]]("no luck")
    return number


@task
def tell(folder: str, *words: tuple[float, float, str]) -> str:
    """Tell these words of progress, and end when the gate is open."""
    for word in words:
        progress(*word)
    Gate(Path(folder)).pass_through("tell")
    return context.task_id()


@task
def tidy_up(folder: str, ends: bool = True) -> None:
    """Ask whether it is cancelled; if so tidy up, and end, or not."""
    gate = Gate(Path(folder))
    gate.mark("asks")
    while not cancelled():
        time.sleep(0.01)
    gate.mark("tidy")
    while not ends:
        time.sleep(0.01)


@task
def log_by_context(text: str) -> None:
    logger().info(text)


@task(cron="0 0 1 1 *", missed="skip", retries=4)
def new_year(greeting: str = "A happy new year") -> str:
    return greeting


# One of many calls


@task
def mark_and_die(folder: str, n: int, number: int = 0) -> int:
    """Leave a mark, then die by this signal, or return the square."""
    Gate(Path(folder)).mark(f"call{n}")
    if number:
        os.kill(os.getpid(), number)
    print(f"square of {n}")
    return n * n
