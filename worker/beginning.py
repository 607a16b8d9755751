"""How a process begins in which tasks run: expendable, without the key, with its output in the log."""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from taskyard.log import set_up_logging
from taskyard.settings import Settings, load_settings

PR_SET_PDEATHSIG = 1


def begin() -> Settings:
    """Make this process one for tasks; returns its settings, which hold no key."""
    _become_expendable()
    for name in ("TASKYARD_AUTHKEY", "TASKYARD_AUTHKEY_FILE"):
        os.environ.pop(name, None)
    settings = load_settings()
    set_up_logging(settings)
    sys.stdout = io.TextIOWrapper(io.BufferedWriter(Printed()), "utf-8", "backslashreplace", line_buffering=True)
    return settings


class Printed(io.RawIOBase):
    """Standard output of tasks, under its buffer: each line becomes a line of the log, with the task's id."""

    def __init__(self) -> None:
        # What a task prints is wanted, whatever level the log begins at.
        logging.getLogger("taskyard.printed").setLevel(logging.INFO)
        self._logger = structlog.get_logger("taskyard.printed", program="task")
        self._line = b""

    def writable(self) -> bool:
        """It is."""
        return True

    def write(self, data: Any) -> int:
        """Log the lines that are whole; the rest waits for its end."""
        *lines, self._line = (self._line + bytes(data)).split(b"\n")
        for line in lines:
            self._logger.info(line.decode(errors="replace"))
        return len(data)


def _become_expendable() -> None:
    """Leave signals to the supervisor, die with the parent, and be what the kernel kills when memory runs out."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
