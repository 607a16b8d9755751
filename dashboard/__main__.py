"""The dashboard's program: ``python -m dashboard`` serves, ``python -m dashboard health`` tells whether it does."""

from __future__ import annotations

import argparse
import os
import sys

from dashboard.probe import check

EXAMPLES = """examples:
  python -m dashboard                          serve http://127.0.0.1:8080, queue of TASKYARD_URL
  DASHBOARD_PORT=9000 python -m dashboard
  python -m dashboard link                     print what signs a browser in
  python -m dashboard health                   exit 0 when the dashboard on this host serves

Settings come from the environment and from .env; .env.example lists them.
SIGTERM, SIGINT: end streams, finish what is asked, exit 0.
Exit codes: 78 a setting is wrong.
"""


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m dashboard", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=("serve", "health", "link"), default="serve")
    arguments = parser.parse_args()
    if arguments.command == "health":
        return check(os.environ.get("DASHBOARD_LISTEN") or "", os.environ.get("DASHBOARD_PORT") or "8080")
    from dashboard import program
    from taskyard.errors import TaskyardError

    try:
        return program.print_links() if arguments.command == "link" else program.run()
    except TaskyardError as error:
        print(f"dashboard: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
