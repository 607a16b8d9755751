"""The list: what is on it, where something else holds instead and why, and how one of it is run."""

from __future__ import annotations

import concurrent.futures
import inspect
import logging
import multiprocessing
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tests.executors.functions import pause, tell_marks

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds after which what should have come counts as missing."""


def local_cluster() -> Executor:
    from taskyard import LocalCluster

    return LocalCluster(workers=2)


def cluster() -> Executor:
    from taskyard import Cluster

    return Cluster()


class Kind(NamedTuple):
    """A kind of executor. Called, it makes one."""

    name: str
    workers: int
    """Calls that run at the same time."""
    processes: int
    """In which they run."""
    make: Callable[[], Executor]

    def __call__(self) -> Executor:
        return self.make()

    def script(self, text: str, *lines: str, in_order: bool = True) -> None:
        """Run a program that has an ``executor`` of this kind to its end, which has to be a good one, with these lines."""
        begin = "from tests.executors.functions import *; from tests.executors.listing import KINDS"
        begin = f"{begin}; executor = KINDS[{self.name!r}]()\n"
        command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", begin + text]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * PATIENCE, check=False)
        said = ended.stdout.splitlines()
        assert ended.returncode == 0, f"exit code {ended.returncode}: {ended.stderr}"
        assert "Traceback" not in ended.stderr, ended.stderr
        assert (said if in_order else sorted(said)) == list(lines), f"it says {said}"


THREADS, PROCESSES, LOCAL, CLUSTER = "ThreadPoolExecutor", "ProcessPoolExecutor", "LocalCluster", "Cluster"
OURS = (LOCAL, CLUSTER)
STANDARD = (THREADS, PROCESSES)
KINDS = {
    kind.name: kind
    for kind in (
        Kind(THREADS, 2, 1, lambda: ThreadPoolExecutor(2)),
        Kind(PROCESSES, 2, 2, lambda: ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))),
        Kind(LOCAL, 2, 2, local_cluster),
        Kind(CLUSTER, 5, 5, cluster),
    )
}

Behaviour = Callable[..., None]
"""Takes ``executor``, one that others use too, or ``kind``, to make its own, or both."""
BEHAVIOURS: dict[str, Behaviour] = {}


class Difference(NamedTuple):
    """Where a behaviour does not hold, and what does."""

    of: str
    kinds: tuple[str, ...]
    reason: str
    holds: Behaviour


DIFFERENCES: list[Difference] = []


def behaviour(function: Behaviour) -> Behaviour:
    """Put a behaviour on the list."""
    BEHAVIOURS[function.__name__] = function
    return function


def instead(of: Behaviour, *kinds: str, because: str) -> Callable[[Behaviour], Behaviour]:
    """For executors that by their nature do not behave like ``of``: what they do."""

    def declare(function: Behaviour) -> Behaviour:
        DIFFERENCES.append(Difference(of.__name__, kinds, because, function))
        return function

    return declare


def run(name: str, kind: Kind, executor: Executor) -> None:
    """Check one behaviour, or what this kind has instead. Raises what does not hold."""
    function = next((one.holds for one in DIFFERENCES if one.of == name and kind.name in one.kinds), BEHAVIOURS[name])
    given = {"kind": kind, "executor": executor}
    function(**{wanted: given[wanted] for wanted in inspect.signature(function).parameters})


# For behaviours


def until(condition: Callable[[], T], what: str) -> T:
    """Ask again and again; returns the first true answer, fails when none comes in time."""
    deadline = time.monotonic() + PATIENCE
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {PATIENCE:g} s: {what}"
        time.sleep(0.01)
    return answer


@contextmanager
def raises(kind: type[BaseException], text: str = "") -> Iterator[None]:
    """The lines within raise this, with this text."""
    raised = None
    try:
        yield
    except kind as error:
        raised = error
    assert raised is not None, f"no {kind.__name__}"
    assert text in str(raised), f"{raised!r} does not say {text!r}"


@contextmanager
def logged() -> Iterator[list[str]]:
    """What the standard library's futures log meanwhile, as text."""
    lines: list[str] = []

    class Note(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(f"{record.getMessage()} {''.join(traceback.format_exception(*(record.exc_info or ())))}")

    handler, logger = Note(), logging.getLogger("concurrent.futures")
    logger.addHandler(handler)
    propagate, logger.propagate = logger.propagate, False
    yield lines
    logger.removeHandler(handler)
    logger.propagate = propagate


def fill(executor: Executor, kind: Kind, seconds: float = 0.4) -> list[Future[int]]:
    """Give every worker four calls, more than any kind lends ahead; returns when the first runs."""
    futures = [executor.submit(pause, seconds, n) for n in range(4 * kind.workers)]
    until(lambda: futures[0].running() or futures[0].done(), "it begins")
    return futures


def all_marks(executor: Executor, kind: Kind) -> set[str]:
    """Marks that any of the worker processes has."""
    known: dict[str, set[str]] = {}

    def all_have_told() -> bool:
        known.update(values([executor.submit(tell_marks, 0.05) for _ in range(2 * kind.workers)]))
        return len(known) >= kind.processes

    until(all_have_told, "every process has told its marks")
    return set().union(*known.values())


def values(futures: list[Future[T]]) -> list[T]:
    """Their results, in order."""
    return [future.result(PATIENCE) for future in futures]


def ended(futures: list[Future[Any]]) -> bool:
    """Whether all have, within the patience."""
    return not concurrent.futures.wait(futures, PATIENCE).not_done
