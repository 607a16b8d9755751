"""What a client has sent and would send again, if the queue lost it: calls of which it knows no end yet."""

from __future__ import annotations

from collections.abc import Iterable

from taskyard import outbox
from taskyard.futures import Key, OpenCalls
from taskyard.outbox import Parcel

LEAST = 64
"""Parcels below which nobody looks for those that are not needed any more."""


class Kept:
    """Parcels with open calls. Used under the lock of ``calls``."""

    def __init__(self, calls: OpenCalls) -> None:
        self._calls = calls
        self._parcels: list[Parcel] = []
        self._look_at = LEAST

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Keep what was sent, as long as it has open calls."""
        self._parcels += parcels
        if len(self._parcels) >= self._look_at:
            self._parcels = [parcel for parcel in self._parcels if any(map(self._calls.__contains__, parcel.all_keys()))]
            self._look_at = max(LEAST, 2 * len(self._parcels))

    def take(self, keys: set[Key]) -> list[Parcel]:
        """These calls, as far as they are here and open."""
        found: list[Parcel] = []
        for options, key, payloads in self._parcels:
            parcel = Parcel(options, key, list(payloads))  # more calls may join it
            found += outbox.without(parcel, [one in keys and one in self._calls for one in parcel.all_keys()])
        return found
