"""Debian's Redis with a folder of its own, and the worker programs of what is built on it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

URL = "BENCH_URL"
"""In the environment of worker programs: where their broker is."""
START_SECONDS = 20.0
STOP_SECONDS = 5.0


class Programs:
    """Worker programs, from `start` until `stop`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self, *words: str, times: int = 1) -> None:
        """Start ``python -m`` with these words, as often as said."""
        for _ in range(times):
            command = [sys.executable, "-m", *words]
            self._running.append(subprocess.Popen(command, env={**os.environ, URL: self.url}, stdin=subprocess.DEVNULL))

    def stop(self) -> None:
        """Tell them to stop, and kill those that do not; the broker goes last."""
        for program in reversed(self._running):
            program.terminate()
            try:
                program.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                program.kill()
                program.wait()


class Redis(Programs):
    """A server that keeps nothing, or with ``keeps`` each write before it answers (``appendfsync always``)."""

    def __init__(self, folder: Path, keeps: bool) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        super().__init__(f"redis://127.0.0.1:{port}")
        appending = ["--appendonly", "yes", "--appendfsync", "always"] if keeps else ["--appendonly", "no"]
        where = ["--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
        server = subprocess.Popen(["redis-server", *where, *appending, "--loglevel", "warning"], stdin=subprocess.DEVNULL)
        self._running.append(server)
        deadline = time.monotonic() + START_SECONDS
        while not _answers(port):
            if server.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("redis-server does not answer")
            time.sleep(0.01)  # it tells nobody when it is ready


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1.0) as conn:
            conn.sendall(b"PING\r\n")
            return conn.recv(5) == b"+PONG"
    except OSError:
        return False
