"""``--leash``: a program ends when the one that started it is gone, however that ended.

The parent keeps the other end of the program's standard input. The kernel closes it with the parent, whatever killed it.
"""

from __future__ import annotations

import os
import signal
import threading

LEASH_HELP = "end, as by SIGTERM, when standard input ends: with the program that keeps its other end"


def hold_leash() -> None:
    """From now on the end of standard input ends this process by SIGTERM. What this process starts finds it empty."""
    leash = os.dup(0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    threading.Thread(target=_wait_for_end, args=(leash,), name="leash", daemon=True).start()


def _wait_for_end(leash: int) -> None:
    while os.read(leash, 4096):
        pass  # what is typed says nothing
    os.kill(os.getpid(), signal.SIGTERM)
