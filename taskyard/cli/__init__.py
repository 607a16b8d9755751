"""The command line: ``taskyard COMMAND``."""

from __future__ import annotations

import sys

from taskyard.cli import act, local, look, scale, verify, watch, work  # noqa: F401 - each adds its commands
from taskyard.cli.base import app
from taskyard.errors import TaskyardError


def main() -> None:
    """Run the command line; Taskyard's errors become one line and their exit code."""
    try:
        app(prog_name="taskyard")
    except TaskyardError as error:
        print(f"taskyard: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
