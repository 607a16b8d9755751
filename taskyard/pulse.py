"""A program's pulse: a file that it touches while all is well, and whose age its ``health`` command looks at.

Imports next to nothing: health checks start a process every few seconds.
"""

from __future__ import annotations

import os
import time

BEAT_SECONDS = 2.0
"""A program that is well touches its file so often."""
HEALTHY_SECONDS = 10.0


def check(path: str) -> int:
    """Print how old the pulse is; returns the exit code of a ``health`` command: 0 well, 1 not."""
    try:
        age = time.time() - os.stat(path).st_mtime  # noqa: PTH116 - pathlib takes as long to import as all the rest
    except OSError:
        print("not ready yet")
        return 1
    print(f"{'well' if age < HEALTHY_SECONDS else 'not well'}: last seen so {age:.1f} s ago")
    return 0 if age < HEALTHY_SECONDS else 1
