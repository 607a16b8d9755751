"""A replicated queue as its users start it: NATS servers, masters and workers, each a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

from bench.nats_servers import NatsServers
from bench.ports import free_port
from taskyard import Cluster
from taskyard.transport import RemoteQueue
from taskyard.urls import QUEUE

AUTHKEY = "the key of a replicated queue"
START_SECONDS = 30.0


class Program:
    """A master or a worker."""

    def __init__(self, module: str, folder: Path, settings: dict[str, str]) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._command = [sys.executable, "-m", module]
        self._environment = {**os.environ, **settings}
        self.log = folder / "log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let it run."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, cwd=self.folder, stdout=log, stderr=log)

    @property
    def runs(self) -> bool:
        """Whether it does."""
        return self.process is not None and self.process.poll() is None

    def signal(self, number: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does."""
        self.signal(signal.SIGKILL)
        assert self.process is not None
        self.process.wait()

    def stop(self) -> int:
        """End it as Docker does; returns its exit code. Raises TimeoutExpired where it had to be killed."""
        assert self.process is not None
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        try:
            return self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()
            raise


class Replicated:
    """``url``: where its queue is. Its masters' data, logs and addresses are in folders below ``folder``."""

    def __init__(self, folder: Path, servers: NatsServers, masters: int, workers: int, queue: str = "", app: str = "") -> None:
        self.folder = folder
        self.name = queue or QUEUE
        self.url = f"{servers.url}/{self.name}"
        root = Path(__file__).parents[1]
        settings = {"TASKYARD_URL": self.url, "TASKYARD_AUTHKEY": AUTHKEY, "PYTHONPATH": str(root)}
        self._settings = settings
        self.masters: dict[str, Program] = {}
        """By the addresses at which they serve when they lead."""
        self.workers: list[Program] = []
        for number in range(masters):
            port = free_port()
            own = {
                "MASTER_PORT": str(port),
                "MASTER_DATA": "data",
                "MASTER_HEALTH_FILE": "health",
                "MASTER_REPLICAS": str(len(servers.all)),
            }
            self.masters[f"127.0.0.1:{port}"] = Program("master", folder / f"master-{number}", settings | own)
        for number in range(workers):
            own = {"WORKER_HEALTH_FILE": "health", "WORKER_APP": app or "app.tasks"}
            self.workers.append(Program("worker", folder / f"worker-{number}", settings | own))
        try:
            for program in (*self.masters.values(), *self.workers):
                program.start()
            self._wait_for(workers)
        except BaseException:
            self.close()
            raise

    def queue(self, patience: float | None = START_SECONDS) -> RemoteQueue:
        """A connection to it."""
        return RemoteQueue(self.url, AUTHKEY.encode(), patience)

    def client(self) -> Cluster:
        """An executor on it."""
        return Cluster(self.url, AUTHKEY.encode())

    def run(self, module: str, *words: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program as a client."""
        command, environment = [sys.executable, "-m", module, *words], os.environ | self._settings
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=seconds, check=False)

    def leader(self) -> Program:
        """The master that leads now."""
        with self.queue() as queue:
            queue.connect()
            return self.masters["{}:{}".format(*queue.address)]

    def _wait_for(self, workers: int) -> None:
        deadline = time.monotonic() + START_SECONDS
        with self.queue() as queue:
            while int(queue.stats()["workers"]) < workers:
                assert time.monotonic() < deadline, "the workers do not join"
                time.sleep(0.02)

    def close(self) -> None:
        """End all that runs."""
        with ExitStack() as ending:  # of all, also where one does not end by itself
            for program in (*self.masters.values(), *self.workers):
                if program.runs:
                    ending.callback(program.stop)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
