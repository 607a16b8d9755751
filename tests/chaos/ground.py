"""The cluster that is beaten: the shipped one, with a disk of its own that can be filled and a clock that can be stepped."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from docker.errors import APIError
from docker.models.containers import Container
from docker.models.networks import Network

from tests.cluster.project import DRIVER, ROOT, SHIPPED, Project, health
from tests.harness import wait_until

WORKERS = 5
DISK_BYTES = 4 * 2**30
"""Of the master's disk; a sparse file."""
T = TypeVar("T")


class Ground:
    """Brings the cluster up and removes it at the end. ``missing``: why something can't be done here, by what it needs."""

    def __init__(self, name: str, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.missing: dict[str, str] = {}
        self.disk: str | None = None
        self._clocks = folder / "clocks"
        self._name = name
        self._settings = settings
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        shutil.rmtree(self.folder, ignore_errors=True)
        self._clocks.mkdir(parents=True)
        self.project = Project(self._name, [SHIPPED, DRIVER], **self._settings)
        self.project.down()
        with ExitStack() as undo:
            self._make_disk(undo)
            self._make_clocks()
            undo.callback(self.project.down)
            self._undo = undo.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._undo.close()

    def up(self) -> None:
        """All healthy, no work."""
        self.project.compose(
            "up", "--detach", "--wait", "--no-recreate", "--no-deps", "--scale", f"worker={WORKERS}", "master", "worker"
        )
        wait_until(lambda: len(self.project.workers_heard_of()) == WORKERS, f"{WORKERS} workers have joined", 90)

    def heal(self) -> None:
        """All healthy again, by themselves: each blow has undone itself, but for a scaling that Ctrl-C has interrupted."""
        # First, since Compose does not wait for what is unhealthy at the moment.
        wait_until(lambda: all(health(one) == "healthy" for one in [self.master(), *self.workers()]), "all are healthy")
        self.up()

    def is_well(self) -> bool:
        """Whether as many as there should be are up, and all healthy."""
        workers = self.workers()
        try:
            return len(workers) == WORKERS and all(health(one) == "healthy" for one in [self.master(), *workers])
        except APIError:
            return False  # one is just being removed

    # What there is to hit

    def workers(self) -> list[Container]:
        return self.project.containers("worker")

    def master(self) -> Container:
        return self.project.container("master")

    def address(self) -> str:
        """Of the master, on the cluster's network; empty while it is off it."""
        networks = self.master().attrs["NetworkSettings"]["Networks"]
        return next((str(one["IPAddress"]) for one in networks.values()), "")

    def client(self) -> Container:
        label = [f"com.docker.compose.project={self._name}", "com.docker.compose.oneoff=True"]
        (found,) = self.project.engine.containers.list(filters={"label": label, "name": "steady"})
        return found

    def network(self) -> Network:
        return self.project.network("queue")

    def set_clock(self, service: str, offset: int) -> None:
        """Let the clock of a service's programs be so many seconds ahead; they look every second."""
        new = self._clocks / f"{service}.new"
        new.write_text(f"{offset:+d}\n")
        (self._clocks / service / "now").parent.mkdir(exist_ok=True)
        new.replace(self._clocks / service / "now")

    # How it is made

    def _over(self, name: str, **content: object) -> Path:
        path = self.folder / f"{name}.yaml"
        path.write_text(json.dumps(content))  # JSON is YAML
        return path

    def _make_disk(self, undo: ExitStack) -> None:
        if os.geteuid() != 0:
            why = "this user may not enter a container's network and cgroup, nor make a disk: run it as root"
            self.missing.update(root=why, disk=why)
            return
        image = self.folder / "disk.img"
        with image.open("wb") as file:
            file.truncate(DISK_BYTES)
        owner = "root_owner=10001:10001,lazy_itable_init=1,lazy_journal_init=1"
        undo.callback(image.unlink)
        try:
            subprocess.run(["mkfs.ext4", "-q", "-F", "-m", "0", "-E", owner, image], check=True)
            made = subprocess.run(["losetup", "--find", "--show", image], check=True, text=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError) as error:  # a container has no loop devices, for instance
            why = (getattr(error, "stderr", None) or str(error)).strip()
            self.missing["disk"] = f"no disk can be made of a file: {why}"
            return
        self.disk = made.stdout.strip()
        undo.callback(subprocess.run, ["losetup", "--detach", self.disk], check=True)
        options = {"type": "ext4", "device": self.disk}
        self.project.files.append(self._over("disk", volumes={"data": {"driver": "local", "driver_opts": options}}))

    def _make_clocks(self) -> None:
        services = {}
        for service in ("master", "worker"):
            self.set_clock(service, 0)
            services[service] = {
                "image": f"taskyard/{service}:${{TASKYARD_VERSION:-latest}}-clock",
                "build": {
                    "context": str(Path(__file__).parent),
                    "dockerfile": "Dockerfile",
                    "args": {"BASE": f"taskyard/{service}:${{TASKYARD_VERSION:-latest}}"},
                },
                "environment": {
                    "LD_PRELOAD": "/opt/clock/libfaketime.so.1",
                    "FAKETIME_TIMESTAMP_FILE": "/run/clock/now",
                    "FAKETIME_CACHE_DURATION": "1",
                    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                },
                "volumes": [f"{self._clocks / service}:/run/clock:ro"],
            }
        self.project.compose("build", "--quiet", "master", "worker")
        self.project.files.append(self._over("clock", services=services))
        try:
            self.project.compose("build", "--quiet", "master", "worker")
        except AssertionError as error:
            self.missing["clock"] = "libfaketime can't be had: " + str(error).strip().splitlines()[-1]
            self.project.files.pop()


def persist(action: Callable[[], T], seconds: float = 60.0) -> T:
    """Do what can't be done while a container is just down: try again until it is up."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return action()
        except APIError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def pid_of(container: Container) -> int:
    """The container's first process as the host knows it; 0: it does not run."""
    container.reload()
    return int(container.attrs["State"]["Pid"])


def cgroup_file(pid: int, for_v1: str, for_v2: str) -> tuple[Path, bool]:
    """A file of a process's cgroup that bounds its disk, and whether it is of version 2."""
    told = dict(line.split(":", 2)[1:] for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines())
    if "blkio" in told:
        return Path("/sys/fs/cgroup/blkio" + told["blkio"], for_v1), False
    return Path("/sys/fs/cgroup" + told[""], for_v2), True


def folder_of(name: str) -> Path:
    """Where a run keeps its files."""
    return ROOT / "build/chaos" / name
