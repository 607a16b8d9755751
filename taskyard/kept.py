"""What a client has sent and would send again, if the queue lost it: calls of which it knows no end yet."""

from __future__ import annotations

from bisect import bisect_right, insort
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
        self._numbered: list[Parcel] = []
        """In the order of their numbers, so that few are looked at to find some."""
        self._keyed: dict[Key, Parcel] = {}
        self._look_at = LEAST

    def add(self, parcels: Iterable[Parcel]) -> None:
        """Keep what was sent, as long as it has open calls."""
        for parcel in parcels:
            if isinstance(parcel.key, str):
                self._keyed[parcel.key] = parcel
            elif not self._numbered or _first(self._numbered[-1]) < parcel.key:
                self._numbered.append(parcel)
            else:  # it was sent again
                insort(self._numbered, parcel, key=_first)
        if len(self._numbered) + len(self._keyed) >= self._look_at:
            self._numbered = [parcel for parcel in self._numbered if any(map(self._calls.__contains__, parcel.all_keys()))]
            self._keyed = {key: parcel for key, parcel in self._keyed.items() if key in self._calls}
            self._look_at = max(LEAST, 2 * (len(self._numbered) + len(self._keyed)))

    def take(self, keys: set[Key]) -> list[Parcel]:
        """These calls, as far as they are here and open; they are kept no more."""
        found = [self._keyed.pop(key) for key in keys & self._keyed.keys() if key in self._calls]
        numbers = [key for key in keys if isinstance(key, int)]
        if numbers:
            begin = max(0, bisect_right(self._numbered, min(numbers), key=_first) - 1)
            end = bisect_right(self._numbered, max(numbers), key=_first)
            left: list[Parcel] = []
            for parcel in self._numbered[begin:end]:
                found += outbox.without(parcel, [one in keys and one in self._calls for one in parcel.all_keys()])
                left += outbox.without(parcel, [one not in keys for one in parcel.all_keys()])
            self._numbered[begin:end] = left
        return found


def _first(parcel: Parcel) -> int:
    assert isinstance(parcel.key, int)
    return parcel.key
