"""The fresh process of `bench.fresh`: makes the call that its one argument describes, and writes the answer as JSON."""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import FrameType


def main(request: str) -> None:
    """Make the call; its answer is a file in its folder."""
    signal.signal(signal.SIGTERM, stop)
    os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    threading.Thread(target=end_with_parent, args=(os.dup(0),), daemon=True).start()
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)  # what this process starts must not read the pipe
    asked = json.loads(request)
    module, _, name = asked["target"].partition(":")
    folder = Path(asked["folder"])
    try:
        answer = getattr(importlib.import_module(module), name)(folder=folder, **asked["arguments"])
    except Exception as error:
        (folder / "error").write_text(f"{type(error).__name__}: {error}")
        raise
    (folder / "answer").write_text(json.dumps(answer))


def stop(number: int, _: FrameType | None) -> None:
    """Unwind, so that every with block ends what it has begun."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sys.exit(128 + number)


def end_with_parent(pipe: int) -> None:
    """The pipe's other end is with the program that asked; if that is killed, this one stops as well."""
    while os.read(pipe, 100):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main(sys.argv[1])
