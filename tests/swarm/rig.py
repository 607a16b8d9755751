"""Three Docker hosts on this machine: a network namespace with an engine of its own each, joined by a bridge, one swarm over all.

Needs root. The bridge is in a namespace too, so that nothing of this machine's own network is touched.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from tests.cluster.project import ROOT, clean_environment
from tests.harness import wait_until

HOSTS = 3
NAME = "tysw"
"""With which names of namespaces and network devices begin: a device's may have 15 characters."""
NETWORK = "10.213.0"
STACK = "taskyard"
VERSION = "swarm-test"
CLIENT = "taskyard.test.client"
"""The label of clients' containers."""
DEPLOY_SECONDS = 420
KEY = "the-admin-key-of-these-tests"
"""Also the password of NATS's user client: a client that is no service of the swarm is given no secrets."""


def run(*words: str | Path, check: bool = True) -> str:
    """Run a command; returns what it printed."""
    ended = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=300)
    assert not check or ended.returncode == 0, f"{' '.join(map(str, words))}: {ended.stdout}"
    return ended.stdout.strip()


class Host:
    """One of them, by number from 1 on."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        self.namespace = f"{NAME}{number}"
        self.address = f"{NETWORK}.{10 + number}"
        self.folder = folder / str(number)
        # What managers agree upon is kept in memory: one disk serves all hosts here, and the tests beside; where it takes long,
        # they lose their leader.
        swarm = self.folder / "data/swarm"
        swarm.mkdir(parents=True)
        run("mount", "-t", "tmpfs", "-o", "mode=700", "tmpfs", swarm)
        self.socket = f"unix://{self.folder}/docker.sock"
        self._engine: subprocess.Popen[bytes] | None = None

    def docker(self, *words: str, check: bool = True) -> str:
        return run("docker", "-H", self.socket, *words, check=check)

    def containers(self, service: str) -> list[str]:
        """Ids of running containers of a service."""
        return self.docker("ps", "-q", "--filter", f"label=com.docker.swarm.service.name={service}").split()

    def remove_volumes(self) -> bool:
        """All that are not in use; returns whether none is left."""
        # Not `volume prune`, whose --all engines before 23 refuse, and later ones need.
        names = self.docker("volume", "ls", "-q").split()
        if names:
            self.docker("volume", "rm", *names, check=False)
        return not self.docker("volume", "ls", "-q")

    def join(self) -> None:
        """Into the network."""
        run("ip", "netns", "add", self.namespace)
        run("ip", "-n", self.namespace, *f"link add eth0 type veth peer name {NAME}{self.number} netns {NAME}0".split())
        run("ip", "-n", f"{NAME}0", *f"link set {NAME}{self.number} master bridge up".split())
        run("ip", "-n", self.namespace, *f"addr add {self.address}/24 dev eth0".split())
        for device in ("lo", "eth0"):
            run("ip", "-n", self.namespace, "link", "set", device, "up")
        # Swarm asks which address leads outward.
        run("ip", "-n", self.namespace, "route", "add", "default", "via", f"{NETWORK}.1")

    def start(self) -> None:
        """The engine; what an earlier one has left goes on."""
        # Not `ip netns exec`, which mounts /sys anew, without the cgroups.
        program = (
            f"hostname host{self.number} && exec dockerd --data-root {self.folder}/data --exec-root {self.folder}/run"
            f" --pidfile {self.folder}/pid -H {self.socket} --bip 172.30.{self.number}.1/24"
        )
        with (self.folder / "log").open("ab") as log:
            self._engine = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--uts", "sh", "-c", program],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                # Not to ask a registry first, for images that are all there.
                env={**os.environ, "DOCKER_SERVICE_PREFER_OFFLINE_IMAGE": "1"},
            )
        wait_until(lambda: "Server Version" in self.docker("info", check=False), f"the engine of {self.namespace} answers")

    def cut_off(self, cut: bool) -> None:
        """Take the cable out, or put it in again."""
        run("ip", "-n", f"{NAME}0", "link", "set", f"{NAME}{self.number}", "down" if cut else "up")

    def crash(self) -> None:
        """The engine and all it runs are killed at once."""
        # The engine first, then containerd and the shims, lest one restarts another.
        wait_until(lambda: not self._kill(), f"all of {self.namespace} has ended")
        (self.folder / "pid").unlink(missing_ok=True)
        for left in self.folder.glob("run/containerd/*.pid"):
            left.unlink()
        assert self._engine is not None
        self._engine.wait(30)

    def _kill(self) -> list[int]:
        """Signals all processes of this host; returns which they were."""
        parents: dict[int, int] = {}
        own: list[int] = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                words = (folder / "stat").read_text().rpartition(")")[2].split()
                if words[0] == "Z":
                    continue
                parents[int(folder.name)] = int(words[1])
                if f"{self.folder}/" in (folder / "cmdline").read_text() and int(folder.name) != os.getpid():
                    own.append(int(folder.name))
            except OSError:
                continue  # it has just ended
        for pid in own:
            own.extend(child for child, parent in parents.items() if parent == pid and child not in own)
        for pid in own:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        return own

    def remove(self) -> None:
        if self._engine is not None:
            self.crash()
        for line in reversed(Path("/proc/mounts").read_text().splitlines()):
            if line.split()[1].startswith(f"{self.folder}/"):
                run("umount", "--lazy", line.split()[1], check=False)
        run("ip", "netns", "del", self.namespace, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


class Rig:
    """All hosts; every one a manager of the swarm. ``source``: a clone, from which stacks are deployed."""

    def __init__(self, source: Path) -> None:
        self._source = source
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            pytest.fail("network namespaces and engines need root: run these tests as root")
        with ExitStack() as undo:
            folder = Path(tempfile.mkdtemp(prefix=f"{NAME}-"))
            undo.callback(shutil.rmtree, folder, ignore_errors=True)
            for number in range(HOSTS + 1):  # what an interrupted run has left
                run("ip", "netns", "del", f"{NAME}{number}", check=False)
            run("ip", "netns", "add", f"{NAME}0")
            undo.callback(run, "ip", "netns", "del", f"{NAME}0", check=False)
            run("ip", "-n", f"{NAME}0", *["link", "add", "bridge", "type", "bridge"])
            run("ip", "-n", f"{NAME}0", *["link", "set", "bridge", "up"])
            self.hosts = [Host(number, folder) for number in range(1, HOSTS + 1)]
            for host in self.hosts:
                undo.callback(host.remove)
                host.join()
                host.start()
            first, *others = self.hosts
            own = ("--advertise-addr", first.address, "--listen-addr", first.address)
            first.docker("swarm", "init", *own)
            token = first.docker("swarm", "join-token", "--quiet", "manager")
            for host in others:
                own = ("--advertise-addr", host.address, "--listen-addr", host.address)
                host.docker("swarm", "join", "--token", token, *own, f"{first.address}:2377")
            self._key = folder / "key"
            self._key.write_text(KEY)
            self._key.chmod(0o644)
            folder.chmod(0o755)
            for name in ("admin_key", "nats_client"):
                first.docker("secret", "create", f"{STACK}_{name}", str(self._key))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._undo.close()
        made = run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference=localhost/*/*:{VERSION}-*")
        if made:
            run("docker", "rmi", *made.split())

    def deploy(
        self,
        stack: str,
        settings: Mapping[str, str] | None = None,
        code: int = 0,
        building: Callable[[], object] = lambda: None,
    ) -> str:
        """As a user does; returns what it printed. ``building``: is called while images are built."""
        manager, *others = self.hosts
        environment = clean_environment(
            SWARM_MANAGER=manager.socket,
            SWARM_HOSTS=" ".join(host.socket for host in others),
            TASKYARD_VERSION=VERSION,
            **(settings or {}),
        )
        words = ["deploy/swarm.sh", *stack.split()]
        said = ""
        with subprocess.Popen(
            words, cwd=self._source, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        ) as script:
            watchdog = threading.Timer(DEPLOY_SECONDS, script.kill)
            watchdog.start()
            assert script.stdout is not None
            for line in script.stdout:
                said += line
                if "building the images" in line:
                    building()
        watchdog.cancel()
        assert script.returncode == code, f"{' '.join(words)}: {script.returncode}\n{said}{self.told(manager)}"
        return said

    def replicas(self, service: str) -> int:
        """How many there are to be."""
        return int(self.spec(service, ".Mode.Replicated.Replicas"))

    def spec(self, service: str, what: str) -> str:
        """Of a service: what the template ``{{.Spec...}}`` tells."""
        return self.hosts[0].docker("service", "inspect", f"{STACK}_{service}", "--format", f"{{{{.Spec{what}}}}}")

    def tasks(self, service: str) -> list[dict[str, Any]]:
        """Its tasks as the engine's API has them, the newest first."""
        ids = self.hosts[0].docker("service", "ps", "-q", "--no-trunc", f"{STACK}_{service}").split()
        found: list[dict[str, Any]] = json.loads(self.hosts[0].docker("inspect", "--type", "task", *ids))
        return sorted(found, key=lambda task: str(task["CreatedAt"]), reverse=True)

    def told(self, manager: Host) -> str:
        """What is the matter, for the message of a test that fails."""
        services = manager.docker("service", "ls", "-q", check=False).split()
        return manager.docker("service", "ps", "--no-trunc", *services, check=False)

    def client(self, host: Host, url: str, *words: str) -> subprocess.Popen[str]:
        """A program of `tests.swarm` in a container on the stack's network, whose lines are to be read."""
        image = host.docker("service", "inspect", f"{STACK}_worker", "--format", "{{.Spec.TaskTemplate.ContainerSpec.Image}}")
        mounts = [("--volume", f"{ROOT}/tests/swarm/load.py:/srv/tests/swarm/load.py:ro")]
        settings = [("--env", f"TASKYARD_URL={url}"), ("--env", f"TASKYARD_AUTHKEY={KEY}")]
        settings += [("--env", "TASKYARD_NATS_PASSWORD_FILE=/run/key"), ("--volume", f"{self._key}:/run/key:ro")]
        options = [word for pair in (*mounts, *settings) for word in pair]
        command = [
            "docker",
            "-H",
            host.socket,
            "run",
            "--rm",
            "--interactive",
            "--label",
            CLIENT,
            "--network",
            f"{STACK}_queue",
            *options,
            image,
            "python",
            "-m",
            *words,
        ]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def remove(self) -> None:
        """The stack with its volumes."""
        # A network that a task still has is removed by the next one.
        wait_until(lambda: "Failed" not in self._try_to_remove(), "the stack is removed", 90)
        for host in self.hosts:
            wait_until(lambda host=host: not host.docker("ps", "-q"), "all containers have ended", 90)  # type: ignore[misc]
            wait_until(host.remove_volumes, "no volume is left")

    def _try_to_remove(self) -> str:
        for host in self.hosts:
            # A test that failed has left it: it would keep the network.
            if left := host.docker("ps", "-q", "--filter", f"label={CLIENT}", check=False).split():
                host.docker("kill", *left, check=False)
        return self.hosts[0].docker("stack", "rm", STACK, check=False)


def longest_stall(times: list[float], blow: float, until: float) -> float:
    """The longest time without a result after a blow."""
    points = [blow, *(when for when in sorted(times) if blow < when < until), until]
    return max(b - a for a, b in itertools.pairwise(points))
