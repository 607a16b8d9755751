"""Numbers, durations and moments in the words of the page."""

from __future__ import annotations

import time

from taskyard.model import Running

UNITS = ((86400.0, "d"), (3600.0, "h"), (60.0, "min"))
SIZES = ("B", "kB", "MB", "GB", "TB")


def number(value: float) -> str:
    """``12,345``; below ten with one decimal, where it has any."""
    if abs(value) >= 1e15:
        return f"{value:.3g}"
    if value != int(value) and value < 10:
        return f"{value:.2g}" if value < 1 else f"{value:.1f}"
    return f"{round(value):,}"


def percent(done: float, total: float) -> float:
    """How far something is, from 0 to 100, whatever a task tells of itself."""
    return min(100.0, max(0.0, 100 * done / total)) if total > 0 else 0.0


def progress(running: Running) -> str:
    """``3 of 9``; empty where a task tells no total."""
    return f"{number(running.done)} of {number(running.total)}" if running.total > 0 else ""


def many(count: int, what: str) -> str:
    """``1 task``, ``12 tasks``."""
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def duration(seconds: float) -> str:
    """``1.2 ms``, ``3.4 s``, ``2 min 5 s``, ``1 d 4 h``."""
    if seconds < 0.0001:
        return "0 s"
    if seconds < 1:
        return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    for index, (size, unit) in enumerate(UNITS):
        if seconds >= size:
            smaller, small_unit = UNITS[index + 1] if index + 1 < len(UNITS) else (1.0, "s")
            rest = int(seconds % size // smaller)
            return f"{int(seconds // size)} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{seconds:.0f} s"


def short(seconds: float) -> str:
    """A duration in one unit: ``99 s``, ``1.7 h``."""
    for length, unit in UNITS:
        if seconds >= 2 * length:
            return f"{seconds / length:.2g} {unit}"
    return f"{seconds:.0f} s" if seconds >= 60 else duration(seconds)


def ago(moment: float, now: float | None = None) -> str:
    """``12 s ago`` of epoch seconds; empty for none."""
    if not moment:
        return ""
    seconds = (time.time() if now is None else now) - moment
    if seconds < 1.5:
        return "just now"
    length, unit = next((one for one in UNITS if seconds >= one[0]), (1.0, "s"))
    return f"{int(seconds // length)} {unit} ago"


def size(count: float) -> str:
    """``1.4 MB``."""
    for unit in SIZES:
        if count < 1000 or unit == SIZES[-1]:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1000
    raise AssertionError
