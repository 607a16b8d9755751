"""Commands that give work and take results: submit, map, results."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from taskyard.cli.base import (
    EXIT_INTERRUPTED,
    Json,
    app,
    connect,
    fields_to_json,
    opened,
    patience,
    progress,
    read_json,
    say,
    to_json,
    written,
)
from taskyard.cli.stream import Form, Stream
from taskyard.client import Calls, Cluster
from taskyard.codec import decode_error, encode_json, one_line
from taskyard.errors import Detached
from taskyard.jobs import Job, JobResult

Name = Annotated[str, typer.Argument(metavar="NAME", help="The task's name.")]
UnderJob = Annotated[str | None, typer.Option("--job", help="Keep it under this job; else a new one.")]
Priority = Annotated[int | None, typer.Option(help="Higher goes first.")]
Retries = Annotated[int | None, typer.Option(help="Attempts that may follow a failed one.")]
TimeLimit = Annotated[float | None, typer.Option(help="Seconds that one attempt may run.")]


@app.command(epilog="Examples: taskyard submit square 7 --wait; taskyard submit send '\"Ann\"' --key mail-17; "
             "taskyard submit add -- -1 2")  # fmt: skip
def submit(
    name: Name,
    arguments: Annotated[list[str] | None, typer.Argument(metavar="ARGS", help="Each is JSON, else text.")] = None,
    kwargs: Annotated[str, typer.Option(help="Arguments by name, as a JSON object.")] = "{}",
    wait: Annotated[bool, typer.Option("--wait", help="Wait, and print what it returns.")] = False,
    job: UnderJob = None,
    priority: Priority = None,
    delay: Annotated[float | None, typer.Option(help="Seconds until it may begin.")] = None,
    retries: Retries = None,
    expiry: Annotated[float | None, typer.Option(help="Seconds within which it must begin.")] = None,
    key: Annotated[str | None, typer.Option(help="With a key that was used before, it is that task again.")] = None,
    time_limit: TimeLimit = None,
    as_json: Json = False,
) -> None:
    """Submit one call of a task; prints the ids of the task and its job.

    Arguments that begin with a minus go behind `--`. What @task(...) says of retries, time limit and so on is not known here:
    say it by option.
    """
    named = _json(kwargs, "--kwargs")
    if not isinstance(named, dict):
        raise typer.BadParameter(f"{kwargs!r}: expected a JSON object", param_hint="--kwargs")
    payload = encode_json([[_json_or_text(word) for word in arguments or ()], named])
    given = {
        "priority": priority, "delay": delay, "retries": retries, "expiry": expiry, "key": key, "time_limit": time_limit,
    }  # fmt: skip
    cluster = Cluster(job=job, patience=patience())
    send = partial(_options(cluster, given).submit_payload, name, payload)
    if wait:
        try:
            with cluster:
                future = send()
                error = future.exception()
        except KeyboardInterrupt:
            _interrupted(cluster.job_id)
        task_id = future.task_id
        told = {"id": task_id, "job": cluster.job_id, "error": one_line(error) if error else None}
        value = None if error else future.result()
        if as_json:
            print(fields_to_json(told | {"value": value}))
        elif error is None:
            print(to_json(value))
        else:
            say(f"{task_id} failed: {one_line(error)}")
        raise typer.Exit(1 if error else 0)
    future = send()
    cluster.detach()
    error = future.exception()
    if error is not None and not isinstance(error, Detached):
        raise error
    task_id, under = future.task_id, cluster.job_id
    if key is not None:  # who used it before may have done so under another job
        with connect() as queue:
            under = queue.show([task_id])[0].job
    print(fields_to_json({"id": task_id, "job": under}) if as_json else f"task {task_id}\njob {under}")


@app.command("map", epilog="Examples: seq 1000 | taskyard map square > squares.jsonl; taskyard map add pairs.jsonl --star")
def map_lines(
    name: Name,
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="JSON lines; else standard input.")] = None,
    star: Annotated[bool, typer.Option("--star", help="A line is an array of arguments, or an object of them by name.")] = False,
    text: Annotated[bool, typer.Option("--text", help="Each line is a text, not JSON.")] = False,
    chunksize: Annotated[int | None, typer.Option(min=1, help="Calls in one task; else as many as take 50 ms.")] = None,
    job: UnderJob = None,
    priority: Priority = None,
    retries: Retries = None,
    time_limit: TimeLimit = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print objects with line, id, state, value and error.")] = False,
) -> None:
    """Call a task for each line; prints what it returns, a line of JSON each, in the order of the lines.

    The input may be endless. Empty lines are skipped. A line that fails is `null` in the output, so that lines in and lines
    out belong together; standard error says why, and the exit code is 1 at the end. When nobody reads the output any
    more, what is left is cancelled. Ctrl-C leaves what was submitted in the queue. What @task(...) says of retries, time limit
    and so on is not known here: say it by option.
    """
    try:
        source = file.open("rb") if file is not None else nullcontext(sys.stdin.buffer)
    except OSError as error:
        raise typer.BadParameter(f"{file}: {error.strerror}", param_hint="FILE") from None
    cluster = Cluster(job=job, patience=patience())
    calls = _options(cluster, {"priority": priority, "retries": retries, "time_limit": time_limit})
    alone = retries is not None or time_limit is not None  # these count for a task
    form: Form = "star" if star else "text" if text else "json"
    stream = Stream(calls, name, chunksize or (1 if alone else 0), form, cluster.queue.limits["payload"])
    failed = 0
    try:
        with cluster, source as lines, progress(hidden=sys.stdout.isatty()) as bar:
            bar_id = bar.add_task(name, total=None)
            try:
                for one in stream.results(lines):
                    if one.error is not None:
                        failed += 1
                        if not as_json:
                            say(f"line {one.line}: {one_line(one.error)}")
                    told = {"line": one.line, "id": one.task_id, "state": one.state, "value": one.value, "error": one.error}
                    if one.error is not None:
                        told["error"] = one_line(one.error)
                    print(fields_to_json(told) if as_json else to_json(one.value), flush=stream.waits)
                    bar.advance(bar_id)
            except BrokenPipeError:
                stream.close()
                raise
    except KeyboardInterrupt:
        _interrupted(cluster.job_id)
    raise typer.Exit(1 if failed else 0)


@app.command(epilog="Example: taskyard results nightly --follow --json | jq -c '[.number, .value]'")
def results(
    job: Annotated[str, typer.Argument(metavar="JOB")],
    after: Annotated[int, typer.Option(min=0, help="Only results behind this cursor (see --json).")] = 0,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for more until the job has ended.")] = False,
    as_json: Json = False,
) -> None:
    """Print a job's results in the order in which they came: the call's number, a tab, and what it returned.

    A call without a number has its task's id instead. What failed is told on standard error, and the exit code is 1.
    """
    failed = 0
    with connect(stay=follow) as queue:
        try:
            for one in Job(queue, job).results(after, wait=follow):
                after = one.cursor
                failed += one.state == "failed"
                _print_result(one, as_json, follow)
        except KeyboardInterrupt:
            say(f"pick it up by: taskyard results {job} --after {after} --follow")
            raise typer.Exit(EXIT_INTERRUPTED) from None
    raise typer.Exit(1 if failed else 0)


def _print_result(one: JobResult, as_json: bool, at_once: bool) -> None:
    error = None if one.state == "done" else one_line(decode_error(one.value, one.cause))
    if as_json:
        told = {"cursor": one.cursor, "number": one.number, "id": one.task_id, "state": one.state, "attempts": one.attempts}
        told |= {"value": opened(one.value) if error is None else None, "error": error}
        print(fields_to_json(told), flush=at_once)
    elif error is None:
        print(f"{one.task_id if one.number is None else one.number}\t{written(one.value)}", flush=at_once)
    else:
        say(f"{one.task_id if one.number is None else one.number} {one.state}: {error}")


def _options(cluster: Cluster, given: dict[str, Any]) -> Calls:
    return cluster.options(**{name: value for name, value in given.items() if value is not None})


def _interrupted(job: str) -> NoReturn:
    say(f"what was submitted stays in the queue; its results: taskyard results {job}")
    raise typer.Exit(EXIT_INTERRUPTED)


def _json_or_text(word: str) -> Any:
    try:
        return read_json(word)
    except ValueError:
        return word


def _json(text: str, hint: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not JSON: {error}", param_hint=hint) from None
