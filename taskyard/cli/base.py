"""What all commands share: the program, the connection, and the forms in which answers are printed."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console, RenderableType
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Column, Table
from typer.core import TyperGroup

from taskyard.codec import JSON, decode, one_line
from taskyard.keys import find_authkey
from taskyard.settings import load_settings
from taskyard.transport import RemoteQueue
from taskyard.urls import is_nats

PATIENCE, NATS_PATIENCE = 5.0, 15.0
"""Seconds that a command waits for a master; on NATS, for one to take another one's place (docs/replication.md)."""
EXIT_INTERRUPTED = 130

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
JobOption = Annotated[str | None, typer.Option("--job", help="Of this job.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many.")]


class Commands(TyperGroup):
    """Ends quietly when the reader of its output has gone, as `head` goes."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names, in the order of the help."""
        return sorted(super().list_commands(ctx))

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else the interpreter's last flush fails
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=Commands,
    help="Look at a Taskyard cluster, give it work, or start one here.\n\n"
    "Settings (TASKYARD_URL, TASKYARD_AUTHKEY_FILE ...) come from the environment and .env. --install-completion makes your"
    " shell complete commands and options. Exit codes: 0 well, 1 something failed, 2 wrong usage, 69 no master answers, 74 the"
    " data can't be used, 76 another release, 77 wrong key or certificate, 78 a wrong setting, 130 Ctrl-C.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


def patience() -> float:
    """How long to wait for a master. Raises `SettingsError`."""
    return NATS_PATIENCE if is_nats(load_settings().taskyard_url) else PATIENCE


def connect(stay: bool = False) -> RemoteQueue:
    """A connection to the master of the settings; ``stay``: later wait for one as long as it takes. Raises `SettingsError`,
    `Unreachable`, `WrongKey`, `WrongVersion`, `WrongCertificate`."""
    settings, seconds = load_settings(), patience()
    with RemoteQueue(settings.taskyard_url, find_authkey(settings), seconds, files=settings.tls_files) as queue:
        queue.connect()
        return queue.another(None if stay else seconds)


def say(text: str) -> None:
    """One line for people, beside the output."""
    print(f"taskyard: {text}", file=sys.stderr, flush=True)


def show(data: dict[str, Any], as_json: bool, for_people: RenderableType) -> None:
    """Print one answer in the form that was asked for."""
    if as_json:
        print(fields_to_json(data))
    elif isinstance(for_people, str):
        print(for_people)
    else:
        Console(highlight=False).print(for_people)


def show_rows(rows: Sequence[Any], as_json: bool, columns: Sequence[str], cells: Iterable[Sequence[Any]]) -> None:
    """Print a list: JSON, a table on a terminal, or lines with tabs for the next program."""
    if as_json:
        print(to_json([row._asdict() for row in rows]))
    elif sys.stdout.isatty():
        Console(highlight=False).print(table(columns, cells))
    else:
        print("\t".join(columns))
        for line in cells:
            print("\t".join(map(str, line)))


def table(columns: Sequence[str], cells: Iterable[Sequence[Any]]) -> Table:
    """A table for a terminal."""
    drawn = Table(*(Column(name, overflow="fold") for name in columns))
    for line in cells:
        drawn.add_row(*map(str, line))
    return drawn


def progress(*, hidden: bool = False) -> Progress:
    """A counter on standard error; nothing is drawn where that is no terminal."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    off = hidden or not console.is_terminal
    # What is printed meanwhile goes to standard output, wherever that is, and not to this console.
    return Progress(*columns, console=console, transient=True, redirect_stdout=False, disable=off)


def to_json(value: Any) -> str:
    """JSON; what it can't hold stands there as Python writes it. So does all of a value that has no form in JSON."""
    try:
        return _json.encode(value)
    except (TypeError, ValueError, RecursionError):  # keys that are no text, NaN, a circle, nested too deeply
        return _json.encode(in_python(value))


def fields_to_json(told: dict[str, Any]) -> str:
    """What is told of one thing, as a JSON object: each value has the form that it can have."""
    return "{" + ", ".join(f"{to_json(name)}: {to_json(value)}" for name, value in told.items()) + "}"


def in_python(value: Any) -> str:
    """A value as Python writes it, or why its class can't do so."""
    try:
        return repr(value)
    except Exception as problem:
        return f"<{type(value).__name__} that can't be shown: {one_line(problem)}>"


_json = json.JSONEncoder(default=in_python, allow_nan=False)


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text. Raises ValueError for what is none (NaN is none), or is nested too deeply."""
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no value of JSON")


class Unreadable(str):
    """Stands for a value that can't be read here."""

    __slots__ = ()
    __repr__ = str.__str__


def opened(data: bytes) -> Any:
    """The value that was encoded, or a text that says why it can't be read here."""
    try:
        return decode(data)
    except Exception as problem:  # its class may be of a module that is not here
        return Unreadable(f"<{len(data):,} bytes that can't be read here: {one_line(problem)}>")


def written(data: bytes) -> str:
    """A value in one line: JSON as JSON, what was pickled as Python writes it."""
    value = opened(data)
    return to_json(value) if data[:1] == JSON else in_python(value)


def moment(epoch: float) -> str:
    """A moment in local time; empty: none."""
    return datetime.fromtimestamp(epoch).strftime("%Y-%m-%d %H:%M:%S") if epoch else ""
