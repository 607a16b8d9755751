"""A real ``python -m worker`` and every other program of the project, told where its master is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil

from tests.contract.master_process import MasterProcess
from tests.harness import wait_until

T = TypeVar("T")
READY = "ready  "
"""How the console log tells that a worker has its tasks."""


class WorkerProcess:
    """Runs from the moment that it is made until `close`, or until it ends by itself."""

    def __init__(self, master: MasterProcess, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self._count: int = settings.get("worker_slots", 1)
        settings = {"worker_app": "tests.programs.tasks", "worker_health_file": folder / "health", **settings}
        self.environment = environment_of(master, **settings)
        with (folder / "worker.log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "worker"], cwd=folder, env=self.environment, stdout=log, stderr=log
            )
        self.pid = self.process.pid

    def log(self) -> str:
        return (self.folder / "worker.log").read_text()

    def wait_for(self, text: str, seconds: float = 20.0) -> None:
        """Return once the log has this text."""

        def has_come() -> bool:
            assert text in self.log() or self.process.poll() is None, f"it has ended: {self.log()}"
            return text in self.log()

        wait_until(has_come, f"{text!r} in the worker's log", seconds)

    def is_healthy(self) -> bool:
        return run(self.environment, "worker", "health").returncode == 0

    def slots(self) -> list[psutil.Process]:
        found = []
        for child in psutil.Process(self.pid).children():
            with suppress(psutil.NoSuchProcess):  # it has just ended
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    def all_slots(self) -> list[psutil.Process]:
        """Its slots once each is there: one whose task has killed it is started again after that task's end is known."""
        return wait_until(lambda: found if len(found := self.slots()) == self._count else [], "it has all its slots", 20)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def freeze(self) -> None:
        """The supervisor and its slots, as when their machine hangs."""
        for process in (psutil.Process(self.pid), *self.slots()):
            process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        for process in (psutil.Process(self.pid), *self.slots()):
            process.send_signal(signal.SIGCONT)

    def wait(self, seconds: float = 20.0) -> int:
        """Its exit code, once it has ended by itself."""
        return self.process.wait(seconds)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(20)


def environment_of(master: MasterProcess, **settings: Any) -> dict[str, str]:
    return master.environment() | {name.upper(): str(value) for name, value in settings.items()}


def run(
    environment: dict[str, str], *words: str, cwd: Path | None = None, seconds: float = 30.0
) -> subprocess.CompletedProcess[str]:
    """Run ``python -m`` with these words to its end."""
    folder = cwd or Path(environment["MASTER_DATA"]).parent
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=folder, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
