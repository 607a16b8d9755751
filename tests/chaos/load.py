"""The client's side, as the run sees it: a process in a container that submits until it is told to end."""

from __future__ import annotations

import json
import subprocess
import threading
from math import inf
from typing import Any

from tests.cluster.project import Project

PROGRAM = ("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "cli", "-m", "tests.cluster.driver.steady")


class Load:
    """Runs ``driver/steady.py`` and keeps what it tells; ``tasks``: which, ``mixed`` or ``even``."""

    def __init__(self, project: Project, seed: int, tasks: str) -> None:
        # In a session of its own: Ctrl-C ends the run, which ends the load.
        words = [*PROGRAM[:1], "--name", f"{project.name}-steady", *PROGRAM[1:], str(seed), tasks]
        self._process = project.start(*words, stdin=subprocess.PIPE, start_new_session=True)
        self.submitted = self.came = 0
        self.longest = 0.0
        self.oldest = inf
        """For how many seconds the oldest task has been open."""
        self.gaps: list[tuple[float, float]] = []
        """In monotonic seconds, as is when each late task was submitted and came."""
        self.late: list[tuple[float, float]] = []
        self.verdicts: list[dict[str, Any]] | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            told = json.loads(line)
            self.submitted = told.get("submitted", self.submitted)
            self.came = told.get("came", self.came)
            self.oldest = told.get("oldest", self.oldest)
            if "gap" in told:
                self.gaps.append(tuple(told["gap"]))
            if "late" in told:
                self.late.append(tuple(told["late"]))
            if "verdicts" in told:
                self.verdicts, self.longest = told["verdicts"], told["longest"]

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def finish(self, seconds: float) -> bool:
        """Let it end what is open and judge; whether it has, within so many seconds."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._reader.join(seconds)
        return self.verdicts is not None

    def close(self) -> None:
        """End it, if it has not ended."""
        if not self.ended:
            self._process.terminate()
        self._process.wait(60)
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()
