"""NATS for tests: real servers as plain processes, one alone or three that keep copies of each other's streams."""

from __future__ import annotations

import atexit
import shutil
import signal
import subprocess
import time
import urllib.request
from functools import cache
from json import loads
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from tests.ports import free_port

START_SECONDS = 30.0


class NatsServer:
    """One server; it keeps what it has in its folder, also over `kill` and `start`."""

    def __init__(self, folder: Path, name: str, routes: list[int], number: int) -> None:
        self.name = name
        self.port = free_port()
        self.monitor = free_port()
        self._config = folder / f"{name}.conf"
        alone = "sync_interval: always" if len(routes) == 1 else ""
        cluster = (
            f"cluster {{ name: test, listen: 127.0.0.1:{routes[number]}, pool_size: -1,"
            f" routes: [{', '.join(f'nats://127.0.0.1:{port}' for port in routes)}] }}"
        )
        self._config.write_text(
            f"listen: 127.0.0.1:{self.port}\nserver_name: {name}\nhttp: 127.0.0.1:{self.monitor}\nmax_payload: 1MB\n"
            f"jetstream {{ store_dir: {folder / name}, {alone} }}\n{cluster if len(routes) > 1 else ''}\n"
        )
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let it run."""
        with self._log.open("ab") as log:
            command = [shutil.which("nats-server") or "nats-server", "-c", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    def signal(self, number: int) -> None:
        """Send its process a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it as a crash does."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """End it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait()

    def ask(self, path: str) -> Any:
        """What its monitoring port says. Raises OSError."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.monitor}{path}", timeout=2) as answer:
            return loads(answer.read())


class NatsServers:
    """So many servers, ready for JetStream."""

    def __init__(self, folder: Path, many: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        routes = [free_port() for _ in range(many)]
        self.all = [NatsServer(folder, f"n{number}", routes, number) for number in range(many)]
        self.url = "nats://" + ",".join(f"127.0.0.1:{server.port}" for server in self.all)
        for server in self.all:
            server.start()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Return once JetStream takes requests on all of them."""
        deadline = time.monotonic() + START_SECONDS
        for server in self.all:
            while not _is_ready(server):
                assert time.monotonic() < deadline, f"{server.name} is not ready; its log: {server._log}"
                time.sleep(0.05)

    def leader_of(self, name: str) -> NatsServer | None:
        """The server that leads a stream; None: nobody knows one now."""
        for server in self.all:
            try:
                told = server.ask("/jsz?streams=true&accounts=true")
            except OSError:
                continue
            for account in told.get("account_details", ()):
                for stream in account.get("stream_detail", ()):
                    if stream["name"] == name and stream.get("cluster", {}).get("leader") == server.name:
                        return server
        return None

    def stop(self) -> None:
        """End all."""
        for server in self.all:
            server.stop()


@cache
def shared(many: int) -> NatsServers:
    """Servers for all tests of this process, which end with it."""
    folder = Path(mkdtemp(prefix="taskyard-nats-"))
    servers = NatsServers(folder, many)
    atexit.register(shutil.rmtree, folder)
    atexit.register(servers.stop)
    return servers


def _is_ready(server: NatsServer) -> bool:
    try:
        return bool(server.ask("/healthz?js-enabled-only=false")["status"] == "ok" and _has_leader(server))
    except OSError:
        return False


def _has_leader(server: NatsServer) -> bool:
    told = server.ask("/jsz")
    return "meta_cluster" not in told or bool(told["meta_cluster"].get("leader"))
