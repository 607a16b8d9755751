"""One function call in a fresh process, after which nothing that it started is left, however it ended."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).parents[1]
PR_SET_CHILD_SUBREAPER = 36
"""Of Linux's ``prctl``."""
GOODBYE_SECONDS = 15.0
"""What an interrupted call may take to stop what it has started; then it is killed."""
LAST_BYTES = 2000
"""Of its log, that an error quotes."""
ALONE = ("unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh")
"""Before a command: it sees no network but a loopback of its own."""


class CallFailed(Exception):
    """A call has raised, died, or taken too long; the text is the end of its log, and the reason as its last line."""


@dataclass(frozen=True)
class Call:
    """A function of the project, ``module:name``, and what it is called with beside ``folder``, an empty one of its own.

    ``environment``: the virtual environment whose Python makes it, ``.venv-`` and this word; empty: this program's own.
    ``alone``: without any network.
    """

    target: str
    arguments: dict[str, Any] = field(default_factory=dict)
    environment: str = ""
    alone: bool = False
    seconds: float = 600.0

    def __call__(self, folder: Path) -> Any:
        """What it returned, through JSON. Raises `CallFailed`."""
        own = Path(tempfile.mkdtemp(prefix="call-", dir=folder))
        try:
            with nothing_left(), (own / "log").open("w+b") as log:
                return self._answer(own, log)
        finally:
            shutil.rmtree(own, ignore_errors=True)

    def _answer(self, own: Path, log: Any) -> Any:
        python = str(ROOT / f".venv-{self.environment}" / "bin" / "python") if self.environment else sys.executable
        if not Path(python).exists():
            raise CallFailed(f".venv-{self.environment} is not there: `make bench-peers` installs it")
        request = json.dumps({"target": self.target, "folder": str(own), "arguments": self.arguments})
        # A session of its own: a terminal's Ctrl-C reaches only this program, which then stops the call.
        with subprocess.Popen(
            [*(ALONE if self.alone else ()), python, "-m", "bench.child", request],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            start_new_session=True,
        ) as child:
            try:
                child.wait(self.seconds)
            except subprocess.TimeoutExpired:
                raise CallFailed(f"{_end_of(log)}\nno answer within {self.seconds:g} s") from None
            finally:
                _stop(child)
        answer, error = own / "answer", own / "error"
        if child.returncode or not answer.exists():
            # Others write into the log too, so that its last line need not be the reason.
            reason = error.read_text() if error.exists() else f"exit code {child.returncode}"
            raise CallFailed(f"{_end_of(log)}\n{reason}")
        return json.loads(answer.read_text())


@contextmanager
def nothing_left() -> Iterator[None]:
    """At the end of the with block, kill all that was started in it, also what its starter has left behind.

    That becomes a child of this process, and is found as such: some programs overwrite the environment that could mark them.
    """
    before = psutil.Process().children(recursive=True)
    libc = ctypes.CDLL(None)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1)
    try:
        yield
    finally:
        while left := [process for process in psutil.Process().children(recursive=True) if process not in before]:
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            psutil.wait_procs(left, 1.0)
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def _stop(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(GOODBYE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def _end_of(log: Any) -> str:
    log.seek(0)
    text: str = log.read().decode(errors="replace")
    return text[-LAST_BYTES:].strip()
