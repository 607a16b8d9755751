"""The worker's program: ``python -m worker`` runs tasks, ``python -m worker health`` tells whether it is well."""

from __future__ import annotations

import os
import sys
import time

HEALTHY_SECONDS = 10.0
"""The supervisor touches its health file every 2 s, after each heartbeat that the master has answered."""

EXAMPLES = """examples:
  python -m worker                                     one slot, queue of TASKYARD_URL
  WORKER_SLOTS=auto WORKER_APP=mine.tasks python -m worker
  python -m worker health                              exit 0 when it is connected and alive

Settings come from the environment and from .env; .env.example lists them.
SIGTERM, SIGINT: finish what runs (WORKER_GRACE seconds), give back the rest, exit 0; a second one: stop at once.
Exit codes: 77 wrong authkey, 76 another release, 78 a setting or the app is wrong.
"""


def health() -> int:
    """Tell by the health file's age whether the worker is well. Imports nothing: it runs every few seconds."""
    path = os.environ.get("WORKER_HEALTH_FILE") or "/tmp/taskyard-worker-health"
    try:
        age = time.time() - os.stat(path).st_mtime
    except OSError:
        print("not connected yet")
        return 1
    print(f"last heartbeat answered {age:.1f} s ago")
    return 0 if age < HEALTHY_SECONDS else 1


def main() -> int:
    """Run; returns the exit code."""
    import argparse

    parser = argparse.ArgumentParser(
        prog="python -m worker", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("run", "health"), default="run")
    if parser.parse_args().command == "health":
        return health()
    from taskyard.errors import TaskyardError
    from worker.program import run

    try:
        return run()
    except TaskyardError as error:
        print(f"worker: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(health() if sys.argv[1:] == ["health"] else main())
