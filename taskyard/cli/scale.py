"""``taskyard autoscale`` and ``taskyard scale``: workers as many as the load wants, or as many as told. On the Docker host."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from time import monotonic, sleep
from typing import Annotated

import typer

from taskyard.cli.base import EXIT_INTERRUPTED, app
from taskyard.errors import TaskyardError
from taskyard.scaling.places import Compose, Crew, Swarm
from taskyard.scaling.policy import Policy
from taskyard.scaling.scaler import Autoscaler, Scaler

LOOK_SECONDS = 1.0
"""Between two looks."""
WAIT_SECONDS = 10.0
"""`scale` says what it waits for so often."""

Service = Annotated[str, typer.Option(help="The Compose service, of the project in this folder.")]
SwarmService = Annotated[
    str | None, typer.Option("--swarm", metavar="NAME", help="A Swarm service instead, such as taskyard_worker.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]


@app.command(
    epilog="Examples: taskyard autoscale --min 1 --max 20; taskyard autoscale --within 60 --quiet 300 --max 8;"
    " taskyard autoscale --swarm taskyard_worker --max 50; taskyard autoscale --once --dry-run"
)
def autoscale(
    least: Annotated[int, typer.Option("--min", min=0, help="Workers at least.")] = 1,
    most: Annotated[int, typer.Option("--max", min=1, help="Workers at most.")] = 20,
    within: Annotated[float, typer.Option(min=0.1, help="Seconds in which what waits should be worked off.")] = 10.0,
    quiet: Annotated[float, typer.Option(min=0.0, help="Seconds for which fewer must have been enough to go down.")] = 30.0,
    service: Service = "worker",
    swarm: SwarmService = None,
    once: Annotated[bool, typer.Option("--once", help="Look once, act at once, also down, and end.")] = False,
    dry_run: DryRun = False,
) -> None:
    """Run as many workers as the load wants, on the Docker host or a Swarm manager, until Ctrl-C.

    Up at once, by how many tasks wait and how long they take; down after a quiet time. A worker is taken away by draining it,
    idle ones first: it finishes what it runs, and only then its container goes. Ctrl-C leaves all as it is.
    """
    if least > most:
        raise typer.BadParameter(f"{least} is more than --max {most}", param_hint="--min")
    policy = Policy(least, most, within, quiet)
    with _crew(service, swarm, alone=not dry_run) as crew, _interrupted():
        eye = crew.eye()
        try:
            scaler = Autoscaler(Scaler(crew, eye, _tell, dry_run), policy, _tell)
            if once:
                turn = scaler.once(monotonic())
                _tell(f"{turn.staff.size} workers, {turn.target} wanted")
                return
            _tell(f"{crew.name}: {least} to {most} workers; Ctrl-C ends this and leaves them")
            while True:
                scaler.turn(monotonic())
                sleep(LOOK_SECONDS)
        finally:
            eye.close()


@app.command(epilog="Examples: taskyard scale 8; taskyard scale 2 --swarm taskyard_worker")
def scale(
    workers: Annotated[int, typer.Argument(metavar="N", min=0, help="Workers.")],
    service: Service = "worker",
    swarm: SwarmService = None,
    dry_run: DryRun = False,
) -> None:
    """Run N workers. Those that are too many drain first, idle ones before others: however long they take, nothing is killed.

    Ctrl-C leaves them draining; the same command goes on with it.
    """
    with _crew(service, swarm, alone=not dry_run) as crew, _interrupted():
        eye = crew.eye()
        try:
            scaler, told = Scaler(crew, eye, _tell, dry_run), monotonic()
            while not scaler.settle(workers, monotonic()) and not dry_run:
                if monotonic() - told > WAIT_SECONDS:
                    told = monotonic()
                    _tell(_waits_for(scaler, told))
                sleep(LOOK_SECONDS)
        finally:
            eye.close()
    if not dry_run:
        _tell(f"{workers} workers")


def _waits_for(scaler: Scaler, now: float) -> str:
    _, staff = scaler.look(now)
    return f"{len(staff.draining)} still finish what they run, {len(staff.coming)} are not heard of yet"


@contextmanager
def _crew(service: str, swarm: str | None, alone: bool) -> Iterator[Crew]:
    """The crew that is meant; ``alone``: nobody else on this host scales it meanwhile. Raises `TaskyardError`."""
    crew: Crew = Swarm(swarm) if swarm is not None else Compose(service)
    crew.places()  # where there is no engine, that is said now
    with socket.socket(socket.AF_UNIX) as lock:
        try:
            if alone:
                lock.bind(f"\0taskyard-scale {crew.name}")  # a name without a file: it goes with this process, however that ends
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise TaskyardError(f"can't see whether something else scales {crew.name} on this host: {error}") from None
            raise TaskyardError(f"{crew.name} is being scaled by another program on this host: end that first") from None
        yield crew


@contextmanager
def _interrupted() -> Iterator[None]:
    """Ctrl-C is no error: all stays as it is."""
    try:
        yield
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None


def _tell(text: str) -> None:
    print(f"{datetime.now():%H:%M:%S} {text}", flush=True)
