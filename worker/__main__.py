"""The worker's program: ``python -m worker`` runs tasks, ``python -m worker health`` tells whether it is well."""

from __future__ import annotations

import argparse
import os
import sys

from taskyard.leash import LEASH_HELP, hold_leash
from taskyard.pulse import ONCE_HELP, check

EXAMPLES = """examples:
  python -m worker                                     one slot, queue of TASKYARD_URL
  WORKER_SLOTS=auto WORKER_APP=mine.tasks python -m worker
  python -m worker health                              exit 0 when it is connected and alive
  python -m worker health --once                       exit 0 when it has been so since it started

Settings come from the environment and from .env; .env.example lists them.
Told to drain (taskyard drain): finish what runs, give back the rest, exit 0; WORKER_AFTER_DRAIN=stay: wait for SIGTERM first.
SIGTERM, SIGINT: finish what runs (WORKER_GRACE seconds), give back the rest, exit 0 (WORKER_AFTER_DRAIN=complete: 143, so that 0
means drained); a second one: stop at once.
Exit codes: 77 wrong authkey or certificate, 76 another release, 78 a setting or the app is wrong.
"""


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m worker", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("run", "health"), default="run")
    parser.add_argument("--once", action="store_true", help=ONCE_HELP)
    parser.add_argument("--leash", action="store_true", help=LEASH_HELP)
    arguments = parser.parse_args()
    if arguments.command == "health":
        return check(os.environ.get("WORKER_HEALTH_FILE") or "/tmp/taskyard-worker-health", arguments.once)
    if arguments.leash:
        hold_leash()
    from taskyard.errors import TaskyardError
    from worker.program import run

    try:
        return run()
    except TaskyardError as error:
        print(f"worker: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
