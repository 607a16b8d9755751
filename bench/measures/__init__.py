"""What is measured. Each module has ``POINTS``: given a scale, its points in the order in which a round takes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from bench.fresh import Call

MEASURES: dict[str, str] = {
    "rates": "tasks a second, beside the standard library and the tutorial",
    "roundtrip": "one call at a time: milliseconds from the call to its result, beside the bare cost of what that needs",
    "cpu": "CPU seconds of a task, by process",
    "growth": "10,000, 100,000 and 1,000,000 calls",
    "slots": "1 to 128 slots with sleeping tasks: who gets how many, and what the master does for one",
    "payloads": "10 bytes to 1 MB there and back",
    "backlog": "0, 100,000 and 1,000,000 tasks waiting: the master's memory, and its start",
    "joins": "connections a second",
    "sharing": "tasks of a second on 8 slots, and short ones beside them",
    "replicas": "the replicated queue on one NATS server and on three, with 1 to 8 workers, beside one master alone and Celery",
    "peers": "tasks a second and round trips, beside Celery, Dramatiq, RQ, Huey, SAQ, arq, TaskIQ, Dask and Ray",
}
OWN = tuple(name for name in MEASURES if name not in ("peers", "replicas"))
"""Those that need no peer's package, and no NATS."""


@dataclass(frozen=True)
class Point:
    """What a round does once. ``label``: unique in its measure. ``about``: what the page needs to know of it."""

    label: str
    call: Call
    about: dict[str, Any]
    may_fail: bool = False
    """A peer that can't be installed or does not run here is told as such, and the run goes on without it."""


@dataclass(frozen=True)
class Measure:
    """Made by `find`; ``most_rounds``: more are not worth their time."""

    name: str
    points: Callable[[float], list[Point]]
    most_rounds: int


def find(name: str) -> Measure:
    """A measure by its name. Raises KeyError."""
    MEASURES[name]
    module = import_module(f"bench.measures.{name}")
    return Measure(name, module.points, getattr(module, "MOST_ROUNDS", 5))


def scaled(calls: int, scale: float, least: int = 20) -> int:
    """So many calls in a run that is to be so much smaller."""
    return max(least, round(calls * scale))
