"""The end of a program, while its threads still run."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable


def at_end(call: Callable[[], None]) -> None:
    """Call this once the main thread has ended, the last one that was given first.

    Where there is one, by the hook that ``concurrent.futures`` itself uses: unlike `atexit` it comes before further calls
    are impossible, and also in the forked children of ``multiprocessing``.
    """
    getattr(threading, "_register_atexit", atexit.register)(call)
