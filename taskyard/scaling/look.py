"""What a look at the queue tells, and how the queue is asked: from this process, or through one in a container of the cluster.

``python -m taskyard.scaling.look`` is the latter: a question a line on its standard input, an answer a line on its standard
output, until the input ends. The queue's network has no way in; its containers know its address, its key and its certificates.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from typing import IO, Any, NamedTuple, Protocol

from taskyard import errors
from taskyard.errors import TaskyardError, Unreachable
from taskyard.keys import follow_authkey
from taskyard.model import WorkerInfo
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue

PATIENCE = 5.0
"""Seconds that a question waits for a master."""
ANSWER_SECONDS = 60.0
"""Within which the container answers, also the first question, for which it starts."""
MOST_RUNNING = 200
"""Running tasks whose age is looked at."""


class Look(NamedTuple):
    """The queue at a moment."""

    ready: int
    leased: int
    paused: bool
    ended: int
    """Attempts since the master's start whose duration was told."""
    run_seconds: float
    """They took together."""
    ages: tuple[float, ...]
    """Seconds since tasks that are leased now were lent, the longest first."""
    workers: tuple[WorkerInfo, ...]
    """Those that are alive, and the last that left."""


class Eye(Protocol):
    """Asks the queue. Each may raise `Unreachable` (ask again later) and other `TaskyardError` (which will not get better)."""

    def look(self) -> Look:
        """The queue as it is now."""

    def drain(self, sessions: Sequence[str]) -> int:
        """Let these workers take nothing more. Returns how many of them are alive."""

    def close(self) -> None:
        """Ask no more."""


class Near:
    """From this process, by its settings. Raises `SettingsError`."""

    def __init__(self) -> None:
        settings = load_settings()
        self._queue = RemoteQueue(settings.taskyard_url, follow_authkey(settings), PATIENCE, files=settings.tls_files)

    def look(self) -> Look:
        """See `Eye.look`."""
        stats, kinds = self._queue.stats(), self._queue.kinds()
        running = self._queue.running(None, MOST_RUNNING)
        return Look(
            stats["ready"],
            stats["leased"],
            stats["paused"],
            sum(sum(kind.run) for kind in kinds),
            sum(kind.run_seconds for kind in kinds),
            tuple(one.seconds for one in running),
            tuple(self._queue.workers()),
        )

    def drain(self, sessions: Sequence[str]) -> int:
        """See `Eye.drain`."""
        return self._queue.drain(sessions)

    def close(self) -> None:
        """See `Eye.close`."""
        self._queue.close()


class Within:
    """Through a process in a container: ``find`` tells the command that starts this module there, each time that it has to be
    started. Raises what that does."""

    def __init__(self, find: Callable[[], Sequence[str]]) -> None:
        self._find = find
        self._words = find()
        self._process: subprocess.Popen[str] | None = None
        self._said: IO[str] | None = None
        """What it says beside its answers."""

    def look(self) -> Look:
        """See `Eye.look`."""
        told = self._ask("look")
        workers = (WorkerInfo._make(one) for one in told["workers"])
        told["workers"] = tuple(one._replace(tasks=tuple(one.tasks)) for one in workers)
        return Look(**told | {"ages": tuple(told["ages"])})

    def drain(self, sessions: Sequence[str]) -> int:
        """See `Eye.drain`."""
        return int(self._ask("drain", list(sessions)))

    def close(self) -> None:
        """See `Eye.close`. The container goes by itself once nobody can ask it."""
        process, self._process = self._process, None
        if process is not None:
            for pipe in (process.stdin, process.stdout):
                try:
                    if pipe is not None:
                        pipe.close()
                except OSError:
                    pass  # the rest of a question that nobody reads
        if self._said is not None:
            self._said.close()

    def _ask(self, *question: Any) -> Any:
        if self._process is None:
            self._start()
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(question) + "\n")
            process.stdin.flush()
            readable, _, _ = select.select([process.stdout], [], [], ANSWER_SECONDS)
            line = process.stdout.readline() if readable else ""
        except OSError:
            line = ""
        if not line:
            raise Unreachable(self._why())
        try:
            answer = json.loads(line)
        except ValueError:
            raise Unreachable(self._why()) from None
        if "error" in answer:
            raise _kind(answer["error"])(answer["message"])
        return answer["answer"]

    def _start(self) -> None:
        self._words = self._find()
        self._said = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - `close` does it
        try:
            # In a session of its own: a Ctrl-C here is not for it, and it ends when its input does.
            self._process = subprocess.Popen(
                self._words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._said,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise Unreachable(f"{self._words[0]} can't be run: {error.strerror}") from None

    def _why(self) -> str:
        """Let go of a process that does not answer; returns what it has said."""
        assert self._process is not None
        assert self._said is not None
        self._process.kill()
        self._process.wait()
        self._said.seek(0)
        lines = [line.strip() for line in self._said if line.strip()]
        self.close()
        return f"`{' '.join(self._words)}` does not answer" + (f": {lines[-1]}" if lines else "")


def _kind(name: str) -> type[TaskyardError]:
    kind = getattr(errors, name, TaskyardError)
    return kind if isinstance(kind, type) and issubclass(kind, TaskyardError) else TaskyardError


def serve() -> None:
    """Answer questions until there are no more."""
    near: Near | None = None
    for line in sys.stdin:
        verb, *arguments = json.loads(line)
        try:
            near = near or Near()
            answer: dict[str, Any] = {"answer": near.look()._asdict() if verb == "look" else near.drain(*arguments)}
        except TaskyardError as error:
            answer = {"error": type(error).__name__, "message": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    serve()
