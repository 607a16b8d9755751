"""Tasks a second: Taskyard beside the standard library and the tutorial."""

from __future__ import annotations

from collections.abc import Sequence

from bench.fresh import Call
from bench.measures import Point, scaled
from bench.systems import OURS, STANDARD, Entry


def points(scale: float) -> list[Point]:
    """One point a system, with all its ways."""
    return points_of((OURS, *STANDARD), scale, trips=0)


def points_of(entries: Sequence[Entry], scale: float, trips: int, rates: bool = True) -> list[Point]:
    """``trips``: round trips to take as well; without ``rates`` nothing but them."""
    return [_point(entry, keeps, scale, trips, rates) for entry in entries for keeps in entry.keeps]


def _point(entry: Entry, keeps: bool, scale: float, trips: int, rates: bool) -> Point:
    arguments = {
        "target": entry.target,
        "keeps": keeps,
        "ways": [(way.name, scaled(way.calls, scale)) for way in (entry.ways if rates else entry.ways[-1:])],
        "rates": rates,
        "trips": trips,
        "packages": entry.packages,
    }
    call = Call("bench.systems.session:play", arguments, environment=entry.environment, alone=entry.alone, seconds=300)
    label = f"{entry.name}, {'durable' if keeps else 'nothing kept'}"
    about = {"system": entry.name, "keeps": keeps, "beside": {way.name: way.beside for way in entry.ways}}
    return Point(label, call, about, may_fail=bool(entry.environment))
