"""Where workers run: containers of a Compose service, or tasks of a Swarm service. Both are scaled by the `docker` command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from taskyard.errors import DockerFailed
from taskyard.scaling.command import docker, docker_json, epoch
from taskyard.scaling.look import Eye, Near, Within
from taskyard.settings import load_settings

LOOK = ("python", "-m", "taskyard.scaling.look")
"""How a container of the cluster is told to ask the queue."""

WANTED = ("new", "ready", "running")
"""The states that Swarm wants tasks to come to which are not over."""
STABLE = 12
"""Go's `sort.Sort` leaves the order of equals as it is in slices of so many."""
STOPPED = ("exited", "dead", "removing")


class Place(NamedTuple):
    """One that has a worker, or will soon."""

    id: str
    host: str
    """What its worker calls its host."""
    started: float
    """Epoch seconds; 0: it has not, or its end is told by ``ended`` alone."""
    ended: bool = False
    """Its worker has ended for good and well: it has drained."""


class Crew(Protocol):
    """All places of one service. Each may raise `DockerFailed`."""

    name: str

    def eye(self) -> Eye:
        """What asks the queue that these workers serve."""

    def places(self) -> list[Place]:
        """Those there are now, but not what somebody has stopped."""

    def grow(self, by: int) -> None:
        """Add so many."""

    def remove(self, places: Sequence[Place]) -> None:
        """Take these away, whose workers have drained."""


class Compose:
    """A service of the project that `docker compose` finds here: by the folder, COMPOSE_FILE, COMPOSE_PROJECT_NAME, .env."""

    def __init__(self, service: str) -> None:
        told = docker_json("compose", "config", "--format", "json")
        if service not in told.get("services", {}):
            raise DockerFailed(f"the Compose project {told['name']!r} has no service {service!r}; see --service")
        self.name = f"{told['name']}/{service}"
        self._service = service
        labels = {"project": told["name"], "service": service, "oneoff": "False"}
        self._filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]

    def eye(self) -> Eye:
        """See `Crew.eye`: in a container of the service ``cli``, which has the network and the key whatever is laid over it."""
        return Within(lambda: ["docker", "compose", "run", "--rm", "-T", "--no-deps", "--entrypoint", LOOK[0], "cli", *LOOK[1:]])

    def places(self) -> list[Place]:
        """See `Crew.places`."""
        return [
            Place(one["Id"], one["Config"]["Hostname"], epoch(one["State"]["StartedAt"]))
            for one in self._containers()
            if one["State"]["Status"] not in STOPPED
        ]

    def grow(self, by: int) -> None:
        """See `Crew.grow`. What somebody has stopped is started again by this too, since Compose counts it."""
        there = self._containers()
        up = sum(one["State"]["Status"] not in STOPPED for one in there)
        # Never fewer than there are: Compose would take the rest away, whatever they run.
        scale = f"{self._service}={max(up + by, len(there))}"
        docker("compose", "up", "--detach", "--no-recreate", "--no-deps", "--no-build", "--scale", scale, self._service)

    def remove(self, places: Sequence[Place]) -> None:
        """See `Crew.remove`. Their programs wait for just this signal (WORKER_AFTER_DRAIN=stay)."""
        ids = [place.id for place in places]
        docker("stop", *ids)
        docker("rm", *ids)

    def _containers(self) -> list[dict[str, Any]]:
        ids = docker("ps", "--all", "--quiet", "--no-trunc", *self._filters).split()
        found: list[dict[str, Any]] = docker_json("container", "inspect", *ids) if ids else []
        return found


class Swarm:
    """A replicated service, on a manager. Its workers end once they have drained, and are not started again.

    So workers are taken away by letting them end, and lowering the replicas by as many; which slots a service loses then is
    Swarm's choice (`removable`).
    """

    def __init__(self, service: str) -> None:
        self.name = service
        template = self._spec()["TaskTemplate"]
        container = template["ContainerSpec"]
        if container.get("Hostname"):
            raise DockerFailed(f"the service {service!r} has a hostname: which worker runs in which container can't be told then")
        restarted = template.get("RestartPolicy", {}).get("Condition", "any") != "on-failure"
        if restarted or "WORKER_AFTER_DRAIN=complete" not in container.get("Env", []):
            raise DockerFailed(
                f"the service {service!r} would keep drained workers, or lose others:"
                " it needs restart_policy: { condition: on-failure } and WORKER_AFTER_DRAIN=complete"
            )

    def eye(self) -> Eye:
        """See `Crew.eye`: from here where TASKYARD_URL says how, else in the dashboard's container, if it is on this host."""
        if "taskyard_url" in load_settings().model_fields_set:
            return Near()
        return Within(self._command)

    def _command(self) -> list[str]:
        stack = self._inspected()["Spec"].get("Labels", {}).get("com.docker.stack.namespace", "")
        found = docker("ps", "--quiet", "--filter", f"label=com.docker.swarm.service.name={stack}_dashboard").split()
        if not found:
            raise DockerFailed(
                f"no container of {stack}_dashboard runs on this host, through which the queue could be asked:"
                " go to the host where it runs (docker service ps), or set TASKYARD_URL and TASKYARD_AUTHKEY_FILE"
            )
        return ["docker", "exec", "--interactive", found[0], *LOOK]

    def places(self) -> list[Place]:
        """See `Crew.places`."""
        slots = self._slots()
        live = [_place(slot[-1]) for slot in slots if not has_ended(slot)]
        ended = [_place(slot[-1]) for slot in slots if has_ended(slot)]
        # The others stay for now, and do nothing.
        return live + ended[: removable(slots, self._replicas()) if ended else 0]

    def grow(self, by: int) -> None:
        """See `Crew.grow`."""
        self._scale(self._replicas() + by)

    def remove(self, places: Sequence[Place]) -> None:
        """See `Crew.remove`."""
        replicas = self._replicas()
        fewer = min(len(places), removable(self._slots(), replicas))
        if fewer:
            self._scale(replicas - fewer)

    def _slots(self) -> list[list[dict[str, Any]]]:
        """What the service has of tasks, by their slots, the oldest first."""
        slots: dict[Any, list[dict[str, Any]]] = {}
        ids = docker("service", "ps", "--quiet", "--no-trunc", self.name).split()
        for task in sorted(docker_json("inspect", "--type", "task", *ids) if ids else [], key=lambda one: str(one["CreatedAt"])):
            if task["DesiredState"] != "remove":
                slots.setdefault(task["Slot"], []).append(task)
        return list(slots.values())

    def _replicas(self) -> int:
        return int(self._spec()["Mode"]["Replicated"]["Replicas"])

    def _scale(self, replicas: int) -> None:
        docker("service", "scale", "--detach", f"{self.name}={replicas}")

    def _spec(self) -> dict[str, Any]:
        spec: dict[str, Any] = self._inspected()["Spec"]
        if "Replicated" not in spec["Mode"]:
            raise DockerFailed(f"the service {self.name!r} has one worker on each host (mode global): it can't be scaled")
        return spec

    def _inspected(self) -> dict[str, Any]:
        (found,) = docker_json("service", "inspect", self.name)
        return dict(found)


def has_ended(slot: Sequence[dict[str, Any]]) -> bool:
    """Whether the newest task of a slot, whose others are its past, has ended well: it is not started again."""
    return bool(slot[-1]["Status"]["State"] == "complete")


def removable(slots: Sequence[Sequence[dict[str, Any]]], replicas: int) -> int:
    """By how many ``replicas`` can be lowered so that Swarm takes none of these slots but such as have ended.

    Swarm would rather have as many on each node than leave alone what runs: it numbers the slots of each node, those that run
    first, and takes those with the highest numbers (replicated orchestrator of github.com/moby/swarmkit). Of those with the same
    number it takes first what does not run, as long as there are so few that Go sorts them in a stable way.
    """
    wanted = [[task for task in slot if task["DesiredState"] in WANTED] or [slot[-1]] for slot in slots]
    if len(slots) != replicas or any(len(tasks) > 1 or not tasks[0].get("NodeID") for tasks in wanted):
        return 0  # it is still busy with what was asked of it before, or would take these first
    nodes = {tasks[0]["NodeID"] for tasks in wanted}
    total, running, ended = (Counter[str](), Counter[str](), Counter[str]())
    for tasks in wanted:
        state, node = tasks[0]["Status"]["State"], tasks[0]["NodeID"]
        total[node] += 1
        running[node] += state == "running"
        ended[node] += state == "complete"
    # One that is just starting may have any number behind those that run.
    starts = {node for node in nodes if running[node] + ended[node] < total[node]}
    highest = max((total[node] if node in starts else running[node] for node in nodes), default=0)
    above = sum(max(0, total[node] - highest) for node in nodes)
    if starts or len(slots) > STABLE:
        return above
    return above + sum(running[node] < highest <= total[node] for node in nodes)


def _place(task: dict[str, Any]) -> Place:
    status = task["Status"]
    container = status.get("ContainerStatus", {}).get("ContainerID", "")
    return Place(task["ID"], container[:12], 0.0, ended=status["State"] == "complete")
