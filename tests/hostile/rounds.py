"""An honest client in a process of its own: ``python -m tests.hostile.rounds URL AUTHKEY`` submits, leases and settles one task
after the other. Prints, for each quarter of a second, when it began, when it ended, and how many rounds a second that were.
"""

from __future__ import annotations

import sys
import time

from taskyard.transport import RemoteQueue
from tests.hostile.honest import ROUNDS, rounds_per_second

WINDOW = 0.25

if __name__ == "__main__":
    with RemoteQueue(sys.argv[1], sys.argv[2].encode(), 10.0, ROUNDS) as queue:
        while True:
            began = time.monotonic()
            rate = rounds_per_second(queue, WINDOW)
            print(began, time.monotonic(), rate, flush=True)
