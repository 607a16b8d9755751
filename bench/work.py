"""The calls that are measured. This module imports nothing that a peer's virtual environment lacks."""

from __future__ import annotations

import os
import time


def square(n: int) -> int:
    """The work of every comparison."""
    return n * n


def echo(data: bytes) -> bytes:
    """Payloads there and back."""
    return data


def nap(seconds: float) -> tuple[int, float, float]:
    """Sleep; returns which process did, and from when until when, by the clock that processes of a machine share."""
    begun = time.monotonic()
    time.sleep(seconds)
    return os.getpid(), begun, time.monotonic()
