"""Who fails to show a token, and how often: bounded work, bounded log, bounded memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic

WINDOW = 60.0
"""Seconds in which failures are counted."""
OF_ADDRESS = 10
OF_ALL = 100
ADDRESSES = 10_000
"""That are remembered at a time."""


class Failures:
    """Counts them by address and in all. Who has the right token is never held up by those who guess: no token can be guessed,
    and many may share an address.
    """

    def __init__(self, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._all = (0.0, 0)

    def note(self, address: str) -> float:
        """Count one failure; returns after how many seconds another try makes sense, 0: at once."""
        now = self._now()
        self._all = self._one_more(self._all, now)
        self._counts[address] = self._one_more(self._counts.pop(address, (now, 0)), now)
        while len(self._counts) > ADDRESSES:
            self._counts.popitem(last=False)
        over = [since for (since, count), most in ((self._counts[address], OF_ADDRESS), (self._all, OF_ALL)) if count > most]
        return max((since + WINDOW - now for since in over), default=0.0)

    @staticmethod
    def _one_more(counted: tuple[float, int], now: float) -> tuple[float, int]:
        since, count = counted
        return (since, count + 1) if count and now - since < WINDOW else (now, 1)
