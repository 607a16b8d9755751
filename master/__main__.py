"""The master's program: ``python -m master`` serves the queue, its other commands look after it."""

from __future__ import annotations

import argparse
import os
import sys

from taskyard.leash import LEASH_HELP, hold_leash
from taskyard.pulse import ONCE_HELP, check

EXAMPLES = """examples:
  python -m master                          serve on 127.0.0.1:5000, data in ./taskyard-data
  MASTER_HOST=0.0.0.0 python -m master      serve every network of this host
  python -m master health                   exit 0 when the master on this host answers
  python -m master health --once            exit 0 when it has since it started
  python -m master rotate-key               make a new key; those in use stay valid until:
  python -m master retire-keys              from now on only the newest key is valid
  python -m master backup > q.db.gz         a copy of the queue, while it runs or while it does not
  python -m master restore < q.db.gz        put it in the place of the queue, while no master runs; on NATS, whichever do
  python -m master copies --wait 60         exit 0 once all NATS servers of TASKYARD_URL have what the others have

Settings come from the environment and from .env; .env.example lists them. SIGTERM and SIGINT end it; what was acknowledged
is on the disk. Exit codes: 69 NATS does not answer or a copy is missing, 74 the data can't be used, 78 a setting is wrong.
"""

COMMANDS = ("serve", "health", "rotate-key", "retire-keys", "backup", "restore", "copies")


def main() -> int:
    """Run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m master", description=__doc__, epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=COMMANDS, default="serve")
    parser.add_argument("--once", action="store_true", help=ONCE_HELP)
    parser.add_argument("--leash", action="store_true", help=LEASH_HELP)
    parser.add_argument(
        "--wait", type=float, default=0.0, metavar="SECONDS", help="copies: for so long at most (default: one look)"
    )
    parser.add_argument(
        "--but", default="", metavar="SERVER", help="copies: this one may lack something, since it is to be stopped"
    )
    arguments = parser.parse_args()
    if arguments.command == "health":
        return check(os.environ.get("MASTER_HEALTH_FILE") or "/tmp/taskyard-master-health", arguments.once)
    if arguments.leash:
        hold_leash()
    from master import backups, keyring, program
    from taskyard.errors import TaskyardError

    def copies() -> int:
        from master.replica.copies import wait_for_copies

        return wait_for_copies(arguments.wait, arguments.but)

    commands = {
        "serve": program.run,
        "rotate-key": keyring.rotate,
        "retire-keys": keyring.retire,
        "backup": backups.save,
        "restore": backups.restore,
        "copies": copies,
    }
    try:
        return commands[arguments.command]()
    except TaskyardError as error:
        print(f"master: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
