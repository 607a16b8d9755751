"""Commands that change what waits: cancel, retry, forget."""

from __future__ import annotations

from typing import Annotated

import typer

from taskyard.cli.base import JobOption, Json, app, connect, show
from taskyard.jobs import PAGE, Job
from taskyard.transport import RemoteQueue

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of tasks.")]


@app.command(epilog="Example: taskyard cancel --job nightly")
def cancel(ids: Ids = None, job: JobOption = None, as_json: Json = False) -> None:
    """Cancel open tasks; what runs is stopped."""
    _check(ids, job)
    with connect() as queue:
        count = queue.cancel(ids) if ids else Job(queue, job or "").cancel()
    show({"cancelled": count}, as_json, f"{count:,} cancelled")


@app.command(epilog="Example: taskyard retry --job nightly")
def retry(ids: Ids = None, job: JobOption = None, as_json: Json = False) -> None:
    """Let failed tasks run again, with their attempts forgotten."""
    _check(ids, job)
    with connect() as queue:
        failed = ids or _failed(queue, job or "")
        count = sum(queue.retry(failed[start : start + PAGE]) for start in range(0, len(failed), PAGE))
    show({"retried": count}, as_json, f"{count:,} will run again")


@app.command(epilog="Example: taskyard forget nightly")
def forget(job: Annotated[str, typer.Argument(metavar="JOB")], as_json: Json = False) -> None:
    """Delete a job's tasks that have ended, with their results."""
    with connect() as queue:
        count = queue.forget(job)
    show({"forgotten": count}, as_json, f"{count:,} forgotten")


def _check(ids: list[str] | None, job: str | None) -> None:
    if bool(ids) == (job is not None):
        raise typer.BadParameter("give ids of tasks, or --job JOB", param_hint="ID")


def _failed(queue: RemoteQueue, job: str) -> list[str]:
    """Ids of the job's failed tasks; all of them before the first is retried, since that one may fail again."""
    failed: list[str] = []
    while found := queue.find("failed", job, PAGE, len(failed)):
        failed += [task.id for task in found]
    return failed
