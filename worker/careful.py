"""Many calls in a process of their own, so that one that takes its process along costs the others nothing.

``python -m worker.careful FD`` is that process: it gets calls over the socket FD and answers with each outcome as soon as it
is there. What it has not answered when it dies, it died of.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from time import perf_counter
from typing import Any

from taskyard import calls, context
from taskyard.calls import Call, OneOutcome
from taskyard.codec import encode_error
from taskyard.errors import TaskFailed
from taskyard.log import get_logger
from taskyard.model import RETRIES_AFTER_DEATH
from taskyard.series import split_id
from worker.beginning import begin
from worker.death import OomCounter, cause_of
from worker.offer import load
from worker.running import Ended, Failed, failed, function_of, run_many

LOOK_SECONDS = 0.1
"""A process that is dead is noticed at the latest then, even if a child of it keeps its socket open."""


def run(app: str, task_id: str, name: str, attempt: int, call: Call) -> Ended:
    """Make many calls that have taken a slot along. The one that does it again fails with that cause, as often as a task of
    its own would have been tried; the others have their outcomes."""
    outcomes: list[OneOutcome] = []
    deaths: Counter[int] = Counter()
    oom, started = OomCounter(), perf_counter()
    while len(outcomes) < len(call.payloads):
        process, begun = _Process(), False
        try:
            left = call._replace(payloads=call.payloads[len(outcomes) :])
            process.conn.send((app, task_id, name, attempt, tuple(left)))
            problem = process.receive()
            if problem is not None:
                return Failed(*problem)
            begun = True
            while len(outcomes) < len(call.payloads):
                outcomes.append(process.receive())
        except (EOFError, OSError):
            culprit, cause = len(outcomes), cause_of(process.exitcode(), 0.0, oom.has_grown())
            if not begun:  # it is the function that does it
                return Failed(cause=cause)
            get_logger("worker").warning("call failed", number=culprit, cause=cause)
            deaths[culprit] += 1 if deaths else 2  # the first to die here has killed the slot as well
            if deaths[culprit] > RETRIES_AFTER_DEATH:
                outcomes.append((False, encode_error(TaskFailed(cause))))
        finally:
            process.end()
    return calls.pack_outcomes(perf_counter() - started, outcomes)


class _Process:
    """That process, as its slot sees it."""

    def __init__(self) -> None:
        self.conn, theirs = Pipe()
        # The path as it is here: the app is found where the slot has found it.
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        words = [sys.executable, "-m", "worker.careful", str(theirs.fileno())]
        # multiprocessing would not do: slots are daemons, which may have no children.
        self._process = subprocess.Popen(words, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL)
        theirs.close()

    def receive(self) -> Any:
        """What it answers. Raises EOFError or OSError when it has died."""
        while not self.conn.poll(LOOK_SECONDS):
            if self._process.poll() is not None and not self.conn.poll():
                raise EOFError
        return self.conn.recv()

    def exitcode(self) -> int | None:
        """As of `multiprocessing.Process`, once it is dead."""
        try:
            return self._process.wait(1.0)
        except subprocess.TimeoutExpired:
            return None

    def end(self) -> None:
        """End it, whatever it does."""
        self.conn.close()
        self._process.kill()
        self._process.wait()


def main() -> None:
    """Be that process."""
    settings = begin()
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    conn: Connection[Any, Any] = Connection(descriptor)
    app, task_id, name, attempt, fields = conn.recv()
    call = Call(*fields)
    context.enter(context.Running(*split_id(task_id), name, attempt, lambda *_: None, lambda: False))
    try:
        functions, _ = load(app, settings.worker_accepts)
        function = function_of(name, call.function, functions)
    except BaseException as error:
        conn.send(tuple(failed(error)))
        return
    conn.send(None)
    for outcome in run_many(function, call):
        conn.send(outcome)


if __name__ == "__main__":
    main()
