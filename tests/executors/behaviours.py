"""The whole list."""

from tests.executors import on_calls, on_ends, on_futures, on_map
from tests.executors.listing import BEHAVIOURS, DIFFERENCES, KINDS, run

__all__ = ["BEHAVIOURS", "DIFFERENCES", "KINDS", "on_calls", "on_ends", "on_futures", "on_map", "run"]
