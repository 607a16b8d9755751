"""A program's pulse: a file that it touches while all is well, and whose age its ``health`` command looks at.

Imports next to nothing: health checks start a process every few seconds.
"""

from __future__ import annotations

import os
import time

BEAT_SECONDS = 2.0
"""A program that is well touches its file so often."""
HEALTHY_SECONDS = 10.0
ONCE_HELP = (
    "of health: whether it has been well since it started, for Swarm, which ends what is not well, also while others are away"
)


def check(path: str, once: bool = False) -> int:
    """Print how old the pulse is; returns the exit code of a ``health`` command: 0 well, or with ``once`` of any age, 1 not."""
    try:
        age = time.time() - os.stat(path).st_mtime  # noqa: PTH116 - pathlib takes as long to import as all the rest
    except OSError:
        print("not ready yet")
        return 1
    well = once or age < HEALTHY_SECONDS
    print(f"{'well' if well else 'not well'}: last seen so {age:.1f} s ago")
    return 0 if well else 1
