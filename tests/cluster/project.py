"""One Compose project: ``docker compose`` for what users do with it, the engine's API for what befalls it."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import docker
from docker.models.containers import Container
from docker.models.networks import Network

from tests.harness import wait_until

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "compose.yaml"
DRIVER = ROOT / "tests/cluster/driver.yaml"
ENVIRONMENT = {
    "TASKYARD_VERSION": "test",  # so that the images of a cluster that somebody uses stay as they are
    "DASHBOARD_PORT": "0",  # so that many projects can run at a time
    "COMPOSE_ANSI": "never",
    "COMPOSE_PROGRESS": "quiet",
}


def clean_environment(**settings: str) -> dict[str, str]:
    """This process's environment without settings of somebody's own cluster."""
    own = ("TASKYARD", "MASTER", "WORKER", "DASHBOARD", "COMPOSE", "PROJECT", "MAILS", "SMTP")
    return {name: value for name, value in os.environ.items() if not name.startswith(own)} | ENVIRONMENT | settings


class Project:
    """Runs under a name of its own."""

    def __init__(self, name: str, files: list[Path], **settings: str) -> None:
        self.name = name
        self.files = files
        self.environment = clean_environment(**settings)
        self.engine = docker.from_env()

    # What users do

    def command(self, *words: str) -> list[str]:
        files = [word for file in self.files for word in ("--file", str(file))]
        return ["docker", "compose", "--project-name", self.name, "--project-directory", str(ROOT), *files, *words]

    def compose(self, *words: str, code: int = 0, timeout: float = 300.0) -> str:
        """Run one command that has to end with this exit code; returns what it printed."""
        ended = subprocess.run(
            self.command(*words),
            env=self.environment,
            timeout=timeout,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert ended.returncode == code, f"{' '.join(words)}: exit code {ended.returncode}\n{ended.stdout}"
        return ended.stdout

    def start(self, *words: str, **streams: Any) -> subprocess.Popen[str]:
        """Start one command and leave it running."""
        streams = {"stdout": subprocess.PIPE, **streams}
        return subprocess.Popen(self.command(*words), env=self.environment, text=True, bufsize=1, **streams)

    def python(self, *words: str, code: int = 0) -> str:
        """Run Python in a container of the command line's service, which has the network and the key."""
        return self.compose("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "cli", *words, code=code)

    def scale(self, workers: int) -> None:
        self.compose("up", "--detach", "--no-recreate", "--wait", "--scale", f"worker={workers}", "worker")
        wait_until(lambda: len(self.workers_heard_of()) == workers, f"{workers} workers have joined")

    def workers_heard_of(self) -> list[dict[str, Any]]:
        answer: list[dict[str, Any]] = json.loads(self.compose("run", "--rm", "-T", "--no-deps", "cli", "workers", "--json"))
        return answer

    def down(self) -> None:
        self.compose("--profile", "tools", "down", "--volumes", "--remove-orphans", "--timeout", "5")

    # What befalls it

    def containers(self, service: str) -> list[Container]:
        """Containers of a service, by number; those of `run` are not among them."""
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.service={service}"]
        found = self.engine.containers.list(all=True, filters={"label": [*labels, "com.docker.compose.oneoff=False"]})
        return sorted(found, key=lambda container: int(container.labels["com.docker.compose.container-number"]))

    def containers_of_runs(self) -> list[Container]:
        """Those of `run`, of all services."""
        labels = [f"com.docker.compose.project={self.name}", "com.docker.compose.oneoff=True"]
        return list(self.engine.containers.list(all=True, sparse=True, filters={"label": labels}))

    def container(self, service: str) -> Container:
        return self.containers(service)[0]

    def network(self, name: str) -> Network:
        """One of the networks of the compose file."""
        labels = [f"com.docker.compose.project={self.name}", f"com.docker.compose.network={name}"]
        (found,) = self.engine.networks.list(filters={"label": labels})
        found.reload()
        return found

    def log(self, service: str) -> str:
        return self.compose("logs", "--no-color", "--no-log-prefix", service)


def signal_all(container: Container, number: int) -> None:
    """A signal to every process of a container but its init, sent from inside: as if each had met it by itself."""
    container.exec_run(["python", "-c", f"import os; os.kill(-1, {number})"])


def inside(container: Container, *command: str) -> str:
    """Run a command in a container; returns what it printed."""
    output = container.exec_run(list(command)).output
    assert isinstance(output, bytes)
    return output.decode()


def host_of(container: Container) -> str:
    """The name that the container has for itself."""
    return str(container.id)[:12]


def health(container: Container) -> str:
    container.reload()
    told: str = container.attrs["State"]["Health"]["Status"]
    return told


class Asker:
    """A client in a container of its own that puts one question after the other (see ``driver/ask.py``)."""

    def __init__(self, project: Project) -> None:
        self._process = project.start(
            *("run", "--rm", "-T", "--no-deps", "--entrypoint", "python", "cli", "-m", "tests.cluster.driver.ask"),
            stdin=subprocess.PIPE,
        )
        assert self._read() == {"ready": True}

    def ask(self, task: str, *args: Any, timeout: float = 60.0) -> dict[str, Any]:
        """Call a task; returns its ``value`` or ``error``, and the ``seconds`` that it took."""
        self.send([task, args, timeout])
        return self._read()

    def workers(self) -> list[dict[str, Any]]:
        self.send(["workers"])
        found: list[dict[str, Any]] = self._read()["value"]
        return found

    def send(self, question: list[Any]) -> None:
        """Put a question; `answer` waits for what comes of it."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the client has ended"
        told: dict[str, Any] = json.loads(line)
        return told

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
