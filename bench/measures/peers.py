"""Tasks a second and round trips of the peers, beside Taskyard, the standard library and the tutorial in the same rounds."""

from __future__ import annotations

from bench.measures import Point, scaled
from bench.measures.rates import points_of
from bench.measures.roundtrip import TRIPS
from bench.systems import OURS, PEERS, STANDARD


def points(scale: float) -> list[Point]:
    """One point a system and what it keeps."""
    return points_of((OURS, *STANDARD, *PEERS), scale, scaled(TRIPS, scale))
