"""What tests see of the stacks from outside: whether all is well, and how NATS's servers are."""

from __future__ import annotations

import threading
from typing import Self

from tests.harness import wait_until
from tests.swarm.rig import STACK, Host, Rig


def statuses(manager: Host) -> list[str]:
    """Of all hosts."""
    return manager.docker("node", "ls", "--format", "{{.Status}}", check=False).split()


def all_well(hosts: list[Host]) -> bool:
    """Whether every service has as many healthy tasks as it should, and each server of NATS all that the others have."""
    manager = hosts[0]
    told = manager.docker("service", "ls", "--format", "{{.Replicas}}", check=False).split("\n")
    if statuses(manager) != ["Ready"] * 3 or not all(len({*line.split()[0].split("/")}) == 1 for line in told if line):
        return False
    servers = [(host, one) for host in hosts for number in (1, 2, 3) for one in host.containers(f"{STACK}_nats{number}")]
    return len(servers) == 3 and all(is_whole(host, one) for host, one in servers)


def place_of(hosts: list[Host], service: str) -> int:
    """The number of the host that a service with one task is on."""
    (place,) = (host.number for host in hosts if host.containers(f"{STACK}_{service}"))
    return place


def is_whole(host: Host, container: str) -> bool:
    """Whether a NATS server has all that the others have."""
    return '"ok"' in host.docker("exec", container, "wget", "-q", "-O", "-", "http://127.0.0.1:8222/healthz", check=False)


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
                    self._seen.append((number, one, is_whole(host, one)))
