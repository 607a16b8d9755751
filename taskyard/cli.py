"""The command line: ``taskyard health | status | workers``."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from taskyard.errors import TaskyardError
from taskyard.settings import find_authkey, load_settings
from taskyard.transport import RemoteQueue

app = typer.Typer(
    help="Look at a Taskyard cluster. Settings (TASKYARD_URL, TASKYARD_AUTHKEY_FILE ...) come from the environment and .env.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
)
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
PATIENCE = 5.0
"""Seconds that a command waits for a master."""


def connect() -> RemoteQueue:
    """A connection to the master of the settings. Raises `SettingsError`."""
    settings = load_settings()
    return RemoteQueue(settings.taskyard_url, find_authkey(settings), PATIENCE)


@app.command(epilog="Example: taskyard health && echo fine")
def health(as_json: Json = False) -> None:
    """Exit 0 when the master answers; else say why not (69: no answer, 77: wrong key, 76: another release)."""
    with connect() as queue:
        stats = queue.stats()
    show({"url": queue.url, "workers": stats["workers"]}, as_json, f"{queue.url} answers, {stats['workers']} workers")


@app.command(epilog="Example: taskyard status --json | jq .ready")
def status(as_json: Json = False) -> None:
    """Count tasks by state."""
    with connect() as queue:
        stats = queue.stats()
    table = Table("state", "tasks")
    for state in ("ready", "leased", "delayed", "done", "failed", "cancelled"):
        table.add_row(state, f"{stats[state]:,}")
    show(stats, as_json, table)


@app.command(epilog="Example: taskyard workers")
def workers(as_json: Json = False) -> None:
    """List the workers that are alive."""
    with connect() as queue:
        alive = queue.workers()
    table = Table("worker", "host", "slots", "busy", "leased", "heard of", "tasks")
    for w in alive:
        table.add_row(
            w.session[:8], w.host, str(w.slots), str(w.busy), str(w.leased), f"{w.silent:.1f} s ago", ", ".join(w.tasks)
        )
    show([w._asdict() for w in alive], as_json, table)


def show(data: Any, as_json: bool, for_people: Any) -> None:
    """Print one answer in the form that was asked for."""
    if as_json:
        print(json.dumps(data))
    else:
        Console().print(for_people)


def main() -> None:
    """Run the command line; Taskyard's errors become one line and their exit code."""
    try:
        app(prog_name="taskyard")
    except TaskyardError as error:
        print(f"taskyard: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
