"""Tasks for the cluster tests; several of them misbehave on purpose."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import app.tasks  # noqa: F401 - the shipped job runs on these workers too
from taskyard import task


@task
def square_after(n: int, seconds: float, ballast: bytes = b"") -> int:
    """Some work, then the answer; ballast makes the task big."""
    time.sleep(seconds)
    return n * n


@task
def host_after(seconds: float) -> str:
    """Some work, then who has done it."""
    time.sleep(seconds)
    return socket.gethostname()


@task
def read_file(path: str) -> str:
    """Fails until the file is there."""
    return Path(path).read_text()


@task
def die_by(number: int) -> None:
    """Kill the process that runs the task."""
    os.kill(os.getpid(), number)
    signal.pause()


@task
def exhaust_memory() -> int:
    """Take memory until there is no more."""
    taken = []
    while True:
        taken.append(bytearray(os.urandom(1024) * 16 * 1024))


@task(time_limit=1.0)
def overrun() -> None:
    """Take longer than the time limit."""
    signal.pause()


@task
def hold_the_interpreter(seconds: float) -> str:
    """Keep a processor busy, and the interpreter's lock with it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(100_000))
    return "done"
