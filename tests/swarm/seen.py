"""What tests see of the stacks from outside: whether all is well, and how NATS's servers are."""

from __future__ import annotations

import threading
from typing import Self

from tests.harness import wait_until
from tests.swarm.rig import STACK, Host, Rig


def statuses(manager: Host) -> list[str]:
    """Of all hosts."""
    return manager.docker("node", "ls", "--format", "{{.Status}}", check=False).split()


def what_is_wrong(hosts: list[Host]) -> list[str]:
    """Which hosts are away; or else which services have not as many healthy tasks as they should, and which servers of NATS have
    not all that the others have."""
    manager = hosts[0]
    found = statuses(manager)
    if found != ["Ready"] * 3:
        return [f"hosts: {found}"]
    services = manager.docker("service", "ls", "--format", "{{.Name}} {{.Replicas}}", check=False).splitlines()
    wrong = [f"service {line}" for line in services or ["none"] if not has_all(line)]
    names = [f"nats{number}" for number in (1, 2, 3)]
    servers = [(name, host, one) for name in names for host in hosts for one in host.containers(f"{STACK}_{name}")]
    if len(servers) != 3:
        wrong.append(f"of NATS's servers run {[name for name, _, _ in servers]}")
    health = [(name, health_of(host, one)) for name, host, one in servers]
    return wrong + [f"{name}: {said}" for name, said in health if not is_ok(said)]


def has_all(service: str) -> bool:
    """Whether a line such as `taskyard_master 3/3 (max 1 per node)` tells of as many tasks as there should be."""
    running, _, wanted = service.partition(" ")[2].partition(" ")[0].partition("/")
    return running == wanted != ""


def wait_until_well(rig: Rig, what: str, seconds: float) -> None:
    """Fails with what is wrong when all is not well in time."""
    manager = rig.hosts[0]
    wrong: list[str] = []

    def well() -> bool:
        wrong[:] = what_is_wrong(rig.hosts)
        return not wrong

    try:
        wait_until(well, what, seconds)
    except AssertionError as error:
        logs = [manager.docker("service", "logs", "--tail", "30", f"{STACK}_nats{number}", check=False) for number in (1, 2, 3)]
        error.add_note("\n".join([*wrong, rig.told(manager), *logs]))
        raise


def place_of(hosts: list[Host], service: str) -> int:
    """The number of the host that a service with one task is on."""
    (place,) = (host.number for host in hosts if host.containers(f"{STACK}_{service}"))
    return place


def health_of(host: Host, container: str) -> str:
    """What a NATS server says of its health."""
    return host.docker("exec", container, "wget", "-q", "-S", "-O", "-", "http://127.0.0.1:8222/healthz", check=False)


def is_ok(health: str) -> bool:
    """Whether a NATS server that says this has all that the others have."""
    return '"ok"' in health


def log_leader(hosts: list[Host]) -> tuple[Host, str] | None:
    """Host and container of the NATS server that leads the queue's log; None: the servers are about to agree on one."""
    for host in hosts:
        for number in (1, 2, 3):
            for container in host.containers(f"{STACK}_nats{number}"):
                page = host.docker(
                    *("exec", container, "wget", "-q", "-O", "-", "http://127.0.0.1:8222/jsz?accounts=1&streams=1"), check=False
                )
                if f'"leader": "nats{number}"' in page.partition('"name": "taskyard-taskyard-log"')[2].partition('"replicas"')[0]:
                    return host, container
    return None


def kill_leader(rig: Rig) -> None:
    led = wait_until(lambda: log_leader(rig.hosts), "a server leads the log")
    assert led is not None
    host, container = led
    host.docker("kill", container)


class NatsWatch:
    """Asks each NATS server again and again for its whole health: all it has, and all the others have."""

    def __init__(self, hosts: list[Host]) -> None:
        self._places = [(number, hosts[place_of(hosts, f"nats{number}") - 1]) for number in (1, 2, 3)]
        self._seen: list[tuple[int, str, bool]] = []
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def check(self) -> None:
        """Each server's new container was seen whole before the next server's old one was seen for the last time."""
        for number in (1, 2):
            new = [one for server, one, _ in self._seen if server == number][-1]
            old = next(one for server, one, _ in self._seen if server == number + 1)
            whole = self._seen.index((number, new, True))
            last = max(place for place, (_, one, _) in enumerate(self._seen) if one == old)
            assert whole < last, f"nats{number + 1} went before nats{number} had caught up"

    def _look(self) -> None:
        while not self._done.wait(0.5):
            for number, host in self._places:
                for one in host.containers(f"{STACK}_nats{number}"):
                    self._seen.append((number, one, is_ok(health_of(host, one))))
