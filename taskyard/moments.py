"""The moments of a schedule: ``*/5 * * * *`` (cron's five fields, in a time zone) or ``every 300`` (seconds)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import count, dropwhile
from math import floor
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from taskyard.errors import SettingsError

FIELDS = 5
SHORTEST = 1.0
"""Seconds between two moments, at least."""


def moments(spec: str, timezone: str, after: float) -> Iterator[float]:
    """Epoch seconds of each moment behind ``after``, for ever. Raises `SettingsError`.

    Those of ``every`` are whole multiples of the interval since 1970, so that every master means the same ones. Cron's
    follow Debian's cron when clocks are changed: a job between two and three runs once.
    """
    word, _, seconds = spec.partition(" ")
    if word == "every":
        yield from _multiples(_interval(seconds), after)
        return
    try:
        zone = ZoneInfo(timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise SettingsError(f"timezone={timezone!r}: no such time zone; expected one like Europe/Berlin") from None
    try:
        if len(spec.split()) != FIELDS:
            raise CronSimError("Wrong number of fields")
        times = CronSim(spec, datetime.fromtimestamp(after, UTC).astimezone(zone))
    except CronSimError as error:
        raise SettingsError(f"cron={spec!r}: {error}; expected minute, hour, day, month, day of the week") from None
    # Asked in an hour that is repeated when clocks go back, it begins with what was due in the first pass.
    yield from dropwhile(lambda moment: moment <= after, (time.timestamp() for time in times))


def check(spec: str, timezone: str) -> None:
    """Raise `SettingsError` for a schedule that makes no sense, or has no moment ever."""
    if next(moments(spec, timezone, 0.0), None) is None:
        raise SettingsError(f"cron={spec!r}: it has no moment in the next fifty years")


def _interval(seconds: str) -> float:
    try:
        interval = float(seconds)
    except ValueError:
        interval = 0.0
    if not SHORTEST <= interval < 1e10:
        raise SettingsError(f"every={seconds!r}: expected a number of seconds, {SHORTEST:g} or more")
    return interval


def _multiples(interval: float, after: float) -> Iterator[float]:
    # A quotient may be rounded down from a whole number: the moment itself would come again.
    return dropwhile(lambda moment: moment <= after, (number * interval for number in count(floor(after / interval))))
