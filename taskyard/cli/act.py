"""Commands that change what waits, or who works: cancel, retry, forget, pause, resume, drain."""

from __future__ import annotations

from typing import Annotated

import typer

from taskyard.cli.base import JobOption, Json, app, connect, show
from taskyard.errors import TaskyardError
from taskyard.jobs import PAGE, Job

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of tasks.")]


@app.command(epilog="Example: taskyard cancel --job nightly")
def cancel(ids: Ids = None, job: JobOption = None, as_json: Json = False) -> None:
    """Cancel open tasks; what runs is stopped."""
    if bool(ids) == (job is not None):
        raise typer.BadParameter("give ids of tasks, or --job JOB", param_hint="ID")
    with connect() as queue:
        count = queue.cancel(ids) if ids else Job(queue, job or "").cancel()
    show({"cancelled": count}, as_json, f"{count:,} cancelled")


@app.command(epilog="Examples: taskyard retry 3f0c9a-17; taskyard retry --all --name fetch --cause 'exception: TimeoutError'")
def retry(
    ids: Ids = None,
    every: Annotated[
        bool, typer.Option("--all", help="All failed tasks, or those that --name, --job and --cause leave.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="With --all: of this name.")] = None,
    job: JobOption = None,
    cause: Annotated[str | None, typer.Option(help="With --all: with a cause that begins so.")] = None,
    as_json: Json = False,
) -> None:
    """Let failed tasks run again, with their attempts forgotten: by their ids, of a job, or all of a kind."""
    if bool(ids) == (every or job is not None):
        raise typer.BadParameter("give ids of tasks, or --job JOB, or --all", param_hint="ID")
    if not every and (name is not None or cause is not None):
        raise typer.BadParameter("--name and --cause say which of --all: give that too", param_hint="--all")
    with connect() as queue:
        if ids:
            count = sum(queue.retry(ids[start : start + PAGE]) for start in range(0, len(ids), PAGE))
        else:
            count = queue.retry_all(name, job, cause)
    show({"retried": count}, as_json, f"{count:,} will run again")


@app.command(epilog="Example: taskyard forget nightly")
def forget(job: Annotated[str, typer.Argument(metavar="JOB")], as_json: Json = False) -> None:
    """Delete a job's tasks that have ended, with their results."""
    with connect() as queue:
        count = queue.forget(job)
    show({"forgotten": count}, as_json, f"{count:,} forgotten")


@app.command(epilog="Example: taskyard pause")
def pause(as_json: Json = False) -> None:
    """Let the queue lend nothing more, also over restarts; what runs goes on, and what comes waits."""
    with connect() as queue:
        news = queue.pause(True)
    show({"paused": True, "changed": news}, as_json, "paused; taskyard resume lets it go on" if news else "it was paused already")


@app.command(epilog="Example: taskyard resume")
def resume(as_json: Json = False) -> None:
    """Let a paused queue go on."""
    with connect() as queue:
        news = queue.pause(False)
    show({"paused": False, "changed": news}, as_json, "it goes on" if news else "it was not paused")


@app.command(epilog="Examples: taskyard drain 9f3ac2d1; taskyard drain 4be0c6a7d512")
def drain(
    workers: Annotated[list[str], typer.Argument(metavar="WORKER...", help="As `taskyard workers` names them, or hosts.")],
    as_json: Json = False,
) -> None:
    """Let workers take nothing more, finish what they run, and end; those of a host all together.

    A worker of Compose stays, idle, until its container is started again. Exit 1 when there is no such worker.
    """
    with connect() as queue:
        alive = [worker for worker in queue.workers() if not worker.left]
        meant = {name: [one for one in alive if one.session.startswith(name) or one.host == name] for name in workers}
        missing = [name for name, found in meant.items() if not name or not found]
        if missing:
            raise TaskyardError(f"no worker {', '.join(map(repr, missing))} is alive; see taskyard workers")
        count = queue.drain(sorted({worker.session for found in meant.values() for worker in found}))
    show({"drained": count}, as_json, f"{count:,} told to drain")
