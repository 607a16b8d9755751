"""Commands that look: health, jobs, tasks, show, workers, schedules."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from taskyard.calls import MANY, unpack, unpack_outcomes
from taskyard.cli.base import JobOption, Json, Limit, app, connect, in_python, moment, opened, show, show_rows
from taskyard.codec import decode_error, one_line
from taskyard.errors import TaskyardError
from taskyard.model import STATES, Attempt, Details, WorkerInfo


@app.command(epilog="Example: taskyard health && echo fine")
def health(as_json: Json = False) -> None:
    """Exit 0 when the master answers; else say why not (69: no answer, 77: wrong key, 76: another release)."""
    with connect() as queue:
        stats = queue.stats()
    show({"url": queue.url, "workers": stats["workers"]}, as_json, f"{queue.url} answers, {stats['workers']} workers")


@app.command(epilog="Example: taskyard jobs --limit 5")
def jobs(limit: Limit = 50, as_json: Json = False) -> None:
    """List jobs and how far they are, the newest first."""
    with connect() as queue:
        found = queue.jobs(None, limit, 0)
    columns = ("job", "created", "tasks", "open", "done", "failed", "cancelled")
    cells = [(one.job, moment(one.created), one.tasks, one.open, one.done, one.failed, one.cancelled) for one in found]
    show_rows(found, as_json, columns, cells)


@app.command(epilog="Example: taskyard tasks --state failed --json | jq -r '.[].id'")
def tasks(
    state: Annotated[str | None, typer.Option(help=f"In this state: {', '.join(STATES)}.")] = None,
    job: JobOption = None,
    name: Annotated[str | None, typer.Option(help="Of this name.")] = None,
    text: Annotated[str | None, typer.Option("--id", help="With this text in their ids.")] = None,
    limit: Limit = 50,
    after: Annotated[int, typer.Option(min=0, help="Skip so many.")] = 0,
    as_json: Json = False,
) -> None:
    """List tasks, the oldest first."""
    if state not in (None, *STATES):
        raise typer.BadParameter(f"{state!r}: expected one of {', '.join(STATES)}", param_hint="--state")
    with connect() as queue:
        found = queue.find(state, job, limit, after, name, text)
    cells = [(one.id, one.name, one.state, one.attempts, moment(one.submitted), one.cause) for one in found]
    show_rows(found, as_json, ("task", "name", "state", "attempts", "submitted", "cause"), cells)


@app.command("show", epilog="Example: taskyard show 3f0c9a-17")
def show_task(task_id: Annotated[str, typer.Argument(metavar="ID")], as_json: Json = False) -> None:
    """Show all that the queue knows of one task: its options, arguments, attempts, and what became of it."""
    with connect() as queue:
        found, attempts = queue.show([task_id]), queue.attempts([task_id])
    if not found:
        raise TaskyardError(f"the queue knows no task {task_id!r}: it was forgotten, has outlived its result, or never was")
    (details,) = found
    told = details._asdict() | {"payload": _arguments(details.payload), "value": _value(details)}
    if details.state == "failed":
        told["error"] = one_line(decode_error(details.value, details.cause))
        told["traceback"] = str(decode_error(details.value, details.cause).__cause__ or "").strip()
    lines = []
    for name, value in told.items():
        if name in ("submitted", "due", "begin_by", "ended", "forgotten"):
            value = moment(value)
        if value not in ("", None):
            lines.append(f"{name:12} {value if isinstance(value, str) else in_python(value)}")
    lines += [f"{'attempt':12} {_attempt(one)}" for one in attempts]
    show(told | {"each_attempt": [one._asdict() for one in attempts]}, as_json, "\n".join(lines))


@app.command(epilog="Example: taskyard workers --left")
def workers(
    left: Annotated[bool, typer.Option("--left", help="Those that left or were lost, the latest first.")] = False,
    as_json: Json = False,
) -> None:
    """List the workers that are alive."""
    with connect() as queue:
        told = [worker for worker in queue.workers() if bool(worker.left) == left]
    columns = ("worker", "host", "state", "python", "slots", "busy", "leased", "cpu", "memory", "heard of", "tasks")
    cells = [
        (
            *(
                w.session[:8],
                w.host,
                _state(w),
                w.python,
                w.slots,
                w.busy,
                w.leased,
                f"{w.cpu:.1f}",
                f"{w.memory / 2**20:,.0f} MiB",
            ),
            *(f"{w.silent:.1f} s ago", ", ".join(w.tasks)),
        )
        for w in told
    ]
    show_rows(told, as_json, columns, cells)


@app.command(epilog="Example: taskyard schedules")
def schedules(as_json: Json = False) -> None:
    """List the periodic tasks that workers announce, and when each is due."""
    with connect() as queue:
        found = queue.schedules()
    columns = ("task", "when", "timezone", "missed", "last", "next", "job")
    cells = [(one.name, one.spec, one.timezone, one.missed, moment(one.last), moment(one.next), one.job) for one in found]
    show_rows(found, as_json, columns, cells)


def _state(worker: WorkerInfo) -> str:
    if worker.left:
        return f"{'lost' if worker.lost else 'left'} {moment(worker.left)}"
    return "draining" if worker.draining else "alive"


def _attempt(one: Attempt) -> str:
    """One line of it."""
    lasted = f", {one.ended - one.leased:.1f} s" if one.leased and one.ended else ""
    who = f" on {one.host or '?'} ({one.session[:8]})" if one.session else ""
    return f"{one.number} {one.kind}{who} {moment(one.leased)}{lasted}{': ' * bool(one.cause)}{one.cause}".strip()


def _arguments(payload: bytes) -> Any:
    """What a task is called with, as far as it can be read here."""
    if not payload:
        return None
    try:
        call = unpack(payload)
    except Exception as problem:
        return f"<{len(payload):,} bytes: {one_line(problem)}>"
    if call.function:
        return f"<{len(call.payloads)} calls of a function by value>" if call.many else "<a call of a function by value>"
    return f"<{len(call.payloads):,} calls>" if call.many else opened(call.payloads[0])


def _value(details: Details) -> Any:
    if details.state != "done":
        return None
    if details.value[:1] == MANY:
        return f"<{len(unpack_outcomes(details.value)[1]):,} values: see taskyard results {details.job}>"
    return opened(details.value)
