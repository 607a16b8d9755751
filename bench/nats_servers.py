"""NATS: real servers as plain processes, one alone or three that keep copies of each other's streams."""

from __future__ import annotations

import atexit
import os
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

from bench.ports import free_port

START_SECONDS = 30.0
ROOT = Path(__file__).parents[1]


class NatsServer:
    """One server; it keeps what it has in its folder, also over `kill` and `start`."""

    def __init__(self, folder: Path, name: str, routes: list[int], number: int, more: str) -> None:
        self.name = name
        self.port = free_port()
        self.monitor = free_port()
        self._config = folder / f"{name}.conf"
        alone = "sync_interval: always" if len(routes) == 1 else ""
        cluster = (
            f"cluster {{ name: test, listen: 127.0.0.1:{routes[number]}, pool_size: -1,"
            f" routes: [{', '.join(f'nats://127.0.0.1:{port}' for port in routes)}] }}"
        )
        # A stream's bound is set aside when it is made, and by default of what the disk has left: too little for many queues.
        self._config.write_text(
            f"listen: 127.0.0.1:{self.port}\nserver_name: {name}\nhttp: 127.0.0.1:{self.monitor}\nmax_payload: 1MB\n"
            f"jetstream {{ store_dir: {folder / name}, max_file_store: 1TB, {alone} }}\n"
            f"{cluster if len(routes) > 1 else ''}\n{more}\n"
        )
        # Why: deploy/nats/start.sh.
        self._environment = {"GOMAXPROCS": "1"} if len(routes) > 1 and "v2.10." in version() else {}
        self._log = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Let it run."""
        with self._log.open("ab") as log:
            command = [program(), "-c", str(self._config)]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environment | os.environ)

    def change(self, former: str, new: str) -> None:
        """Have it take on other settings while it runs."""
        written = self._config.read_text()
        assert former in written
        self._config.write_text(written.replace(former, new))
        self.signal(signal.SIGHUP)

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
    """So many servers, ready for JetStream; ``more``: to be added to the configuration of each."""

    def __init__(self, folder: Path, many: int, more: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        routes = [free_port() for _ in range(many)]
        self.all = [NatsServer(folder, f"n{number}", routes, number, more) for number in range(many)]
        self.url = "nats://" + ",".join(f"127.0.0.1:{server.port}" for server in self.all)
        try:
            for server in self.all:
                server.start()
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def wait_until_ready(self) -> None:
        """Return once JetStream takes requests on all of them."""
        deadline = time.monotonic() + START_SECONDS
        for server in self.all:
            _wait_for(server, deadline)
        while (outside := self._outside()) != []:
            out = f"{[server.name for server in outside or ()]} stayed out of the cluster"
            assert time.monotonic() < deadline, out if outside else "nobody says which servers are in the cluster"
            time.sleep(0.05)
            # As deploy/nats/health.sh does it, which says why.
            if outside and time.monotonic() > deadline - START_SECONDS + 5:
                for server in outside:
                    server.stop()
                    server.start()
                deadline += START_SECONDS
                for server in outside:
                    _wait_for(server, deadline)

    def _outside(self) -> list[NatsServer] | None:
        """Those that JetStream's cluster has not got; None: nobody knows, since none leads it now, or who leads it is busy."""
        for leader in self.all if len(self.all) > 1 else ():
            try:
                told = leader.ask("/jsz")["meta_cluster"]
            except OSError:  # it is busy
                continue
            if told.get("leader") == leader.name:
                inside = {leader.name} | {replica["name"] for replica in told.get("replicas", ())}
                return [server for server in self.all if server.name not in inside]
        return [] if len(self.all) == 1 else None

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
def program() -> str:
    """Where nats-server is: in PATH, or where `make nats-server` puts it. Raises RuntimeError."""
    kept = ROOT / "build/nats/nats-server"
    found = str(kept) if kept.exists() else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("there is no nats-server: run 'make nats-server', which puts one into build/nats")
    return found


@cache
def version() -> str:
    """Such as nats-server: v2.10.27."""
    return subprocess.run([program(), "--version"], check=True, capture_output=True, text=True).stdout.strip()


@cache
def shared(many: int) -> NatsServers:
    """Servers for all in this process who want so many; they end with it."""
    folder = Path(mkdtemp(prefix="taskyard-nats-"))
    servers = NatsServers(folder, many)
    atexit.register(shutil.rmtree, folder)
    atexit.register(servers.stop)
    return servers


def _wait_for(server: NatsServer, deadline: float) -> None:
    while not _is_ready(server):
        assert time.monotonic() < deadline, f"{server.name} is not ready; its log: {server._log}"
        time.sleep(0.05)


def _is_ready(server: NatsServer) -> bool:
    try:
        return bool(server.ask("/healthz?js-enabled-only=false")["status"] == "ok" and _has_leader(server))
    except OSError:
        return False


def _has_leader(server: NatsServer) -> bool:
    told = server.ask("/jsz")
    return "meta_cluster" not in told or bool(told["meta_cluster"].get("leader"))
