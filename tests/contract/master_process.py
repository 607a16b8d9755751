"""A real ``python -m master``: started, killed, started again on the same port and data."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from bench.ports import free_port
from taskyard.settings import TlsFiles
from taskyard.transport import RemoteQueue

ROOT = Path(__file__).parents[2]
AUTHKEY = b"the key of a real master"


class MasterProcess:
    """Runs from `start` until `kill` or `stop`, or as long as a with block."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = free_port()
        scheme = "managers" if "master_tls_cert" in settings else "manager"
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        ca, cert, key = (settings.get(f"taskyard_tls_{what}") for what in ("ca", "cert", "key"))
        self._files = TlsFiles(ca, cert, key)
        self._settings = {name.upper(): str(value) for name, value in settings.items()}
        self._log = (folder / "master.log").open("a+")
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, wait: bool = True) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "master"], cwd=self.folder, env=self.environment(), stderr=self._log, stdout=self._log
        )
        if wait:
            with self.queue(20.0) as queue:
                queue.connect()

    def environment(self) -> dict[str, str]:
        plain = {name: value for name, value in os.environ.items() if not name.startswith(("TASKYARD", "MASTER", "WORKER"))}
        return plain | {
            "PYTHONPATH": str(ROOT),
            "TASKYARD_URL": self.url,
            "TASKYARD_AUTHKEY": AUTHKEY.decode(),
            "MASTER_PORT": str(self.port),
            "MASTER_DATA": str(self.folder / "data"),
            "MASTER_HEALTH_FILE": str(self.folder / "health"),
            **self._settings,
        }

    def queue(self, patience: float | None = 10.0, name: str = "") -> RemoteQueue:
        return RemoteQueue(self.url, AUTHKEY, patience, name, self._files)

    def log(self) -> str:
        return (self.folder / "master.log").read_text()

    def kill(self) -> None:
        """As a crash does it."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """As Docker does it; returns the exit code."""
        return self._end(signal.SIGTERM)

    def close(self) -> None:
        if self.process is not None:
            self._end(signal.SIGKILL)
        self._log.close()

    def _end(self, number: signal.Signals) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        code = self.process.wait(20)
        self.process = None
        return code
