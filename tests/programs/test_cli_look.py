"""Commands that look at a cluster, and those that change what waits."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from concurrent.futures import Future
from datetime import datetime
from typing import Any

import pytest

from taskyard import Cluster
from taskyard.model import STATES, Outcome, Task
from tests.contract.master_process import MasterProcess
from tests.harness import InThread, wait_until
from tests.programs.command import Command
from tests.programs.tasks import Gate, find_road, give_back, held, square, tell
from tests.programs.worker_process import WorkerProcess

pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def command(master: MasterProcess) -> Command:
    return Command(master)


@pytest.fixture
def running(cluster: Cluster, gate: Gate) -> Iterator[Future[str]]:
    """The worker's slot runs this until the gate opens."""
    future = cluster.submit(tell, str(gate.folder), (3, 12, "thumbnails"))
    wait_until(lambda: gate.begun("tell"), "it runs")
    yield future
    gate.open()


def failed_id(cluster: Cluster) -> str:
    future = cluster.submit(find_road, "Rome")
    assert isinstance(future.exception(20), LookupError)
    return str(future.task_id)  # type: ignore[attr-defined]


# Looking


def test_status_counts_tasks_by_state(command: Command, master: MasterProcess, cluster: Cluster) -> None:
    assert cluster.submit(square, 3).result(20)
    told = command.ask_json("status")
    with master.queue() as queue:
        counted = queue.stats()
    assert told.keys() == counted.keys()
    # Not the size of the file, nor the waits at this moment.
    assert {state: told[state] for state in STATES} == {state: counted[state] for state in STATES}
    assert told["done"] >= 1
    rows = dict(line.split("\t") for line in command.ask("status").splitlines())
    assert rows == {state: str(told[state]) for state in STATES}


def test_status_of_a_job_tells_counts_and_the_progress_of_what_runs(
    command: Command, cluster: Cluster, running: Future[str]
) -> None:
    cluster.submit(square, 1)
    wait_until(lambda: running.progress(), "it tells of its progress", 20)  # type: ignore[attr-defined]

    def told() -> Any:
        answer = command.ask_json("status", cluster.job_id)
        return answer if answer["running"] and answer["running"][0]["total"] else None

    answer = wait_until(told, "its progress is known")
    assert (answer["tasks"], answer["open"], answer["done"]) == (2, 2, 0)
    one = answer["running"][0]
    assert (one["name"], one["done"], one["total"], one["note"]) == ("tell", 3, 12, "thumbnails")
    assert f"{one['id']}\ttell\t3 of 12 (25%) thumbnails" in command.ask("status", cluster.job_id).splitlines()


def test_a_watched_job_is_told_line_by_line_until_it_has_ended(
    command: Command, cluster: Cluster, gate: Gate, running: Future[str]
) -> None:
    with command.start("status", cluster.job_id, "--watch") as watching:
        assert watching.stdout is not None
        first = InThread(watching.stdout.readline).result(20)
        assert first.startswith("1 tasks, 1 open, 0 done, 0 failed, 0 cancelled")
        gate.open()
        *_, last = InThread(watching.stdout.readlines).result(20)
        assert last == "1 tasks, 0 open, 1 done, 0 failed, 0 cancelled\n"
        assert watching.wait(10) == 0


def test_ctrl_c_ends_a_watch_and_says_how_to_go_on(command: Command, cluster: Cluster, running: Future[str]) -> None:
    with command.start("status", cluster.job_id, "--watch") as watching:
        assert watching.stdout is not None
        assert watching.stderr is not None
        InThread(watching.stdout.readline).result(20)
        watching.send_signal(signal.SIGINT)
        assert watching.wait(10) == 130
        assert watching.stderr.read() == f"taskyard: the job goes on; pick it up by: taskyard status {cluster.job_id} --watch\n"


def test_jobs_lists_the_newest_first(command: Command, master: MasterProcess) -> None:
    for job in ("older", "newer"):
        with Cluster(master.url, b"the key of a real master", job=job) as cluster:
            cluster.submit(square, 3)
    told = command.ask_json("jobs", "--limit", "2")
    assert [(one["job"], one["tasks"], one["done"]) for one in told] == [("newer", 1, 1), ("older", 1, 1)]
    assert [row["job"] for row in command.rows("jobs")][:2] == ["newer", "older"]


def test_tasks_lists_by_state_and_job(command: Command, cluster: Cluster) -> None:
    task_id = failed_id(cluster)
    assert cluster.submit(square, 3).result(20)
    (failed,) = command.ask_json("tasks", "--state", "failed", "--job", cluster.job_id)
    assert (failed["id"], failed["cause"]) == (task_id, "exception: LookupError: no road to Rome")
    assert [row["state"] for row in command.rows("tasks", "--job", cluster.job_id)] == ["failed", "done"]
    assert len(command.ask_json("tasks", "--limit", "1")) == 1


def test_show_tells_arguments_error_and_traceback(command: Command, cluster: Cluster) -> None:
    task_id = failed_id(cluster)
    told = command.ask_json("show", task_id)
    assert (told["id"], told["state"], told["payload"], told["attempts"]) == (task_id, "failed", [["Rome"], {}], 1)
    assert told["error"] == "LookupError: no road to Rome"
    assert "in find_road" in told["traceback"]
    text = command.ask("show", task_id)
    assert "LookupError: no road to Rome" in text
    assert datetime.fromtimestamp(told["submitted"]).strftime("%Y-%m-%d %H:%M:%S") in text


def test_what_can_not_be_unpickled_here_is_said_to_be_so(command: Command, master: MasterProcess) -> None:
    pickled = b"pcno_such_module\nThing\n."
    with master.queue() as queue:
        queue.submit([Task("foreign", "foreign", "nobody knows it", pickled)])
        lease = wait_until(lambda: queue.lease("by hand", 1, 0.0, ["nobody knows it"]), "it is leased")[0]
        queue.settle("by hand", [Outcome("foreign", lease.token, "done", pickled)])
        queue.leave("by hand")
    why = "bytes that can't be read here: ModuleNotFoundError: No module named 'no_such_module'"
    assert why in command.ask_json("show", "foreign")["value"]
    assert why in command.ask("results", "foreign")
    assert why in command.ask_json("results", "foreign")["value"]


def test_show_tells_values_that_json_can_not_hold_as_python_writes_them(command: Command, cluster: Cluster) -> None:
    circle: list[Any] = []
    circle.append(circle)
    for value in ({(1, 2): 3}, circle, float("nan")):
        future = cluster.submit(give_back, value)
        future.result(20)
        told = command.ask_json("show", str(future.task_id))  # type: ignore[attr-defined]
        assert (told["state"], told["value"]) == ("done", repr(value))


def test_show_of_an_unknown_task_says_so(command: Command) -> None:
    ended = command.run("show", "unheard of")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "the queue knows no task 'unheard of'" in ended.stderr


def test_workers_lists_who_is_alive_with_slots_and_tasks(command: Command, worker: WorkerProcess) -> None:
    (told,) = wait_until(lambda: command.ask_json("workers"), "it is heard of")
    assert told["slots"] == 1
    assert "square" in told["tasks"]
    assert told["silent"] < 30
    (row,) = command.rows("workers")
    assert (row["worker"], row["host"]) == (told["session"][:8], told["host"])


def test_schedules_lists_periodic_tasks(command: Command) -> None:
    told = wait_until(lambda: command.ask_json("schedules"), "the worker has announced it")
    (one,) = [one for one in told if one["name"] == "new_year"]
    assert (one["spec"], one["timezone"]) == ("0 0 1 1 *", "UTC")
    (row,) = [row for row in command.rows("schedules") if row["task"] == "new_year"]
    assert row["next"] == datetime.fromtimestamp(one["next"]).strftime("%Y-%m-%d %H:%M:%S")


# Acting


def test_cancel_by_id_and_by_job(command: Command, cluster: Cluster, running: Future[str], gate: Gate) -> None:
    first, *others = [cluster.submit(held, str(gate.folder)) for _ in range(4)]
    wait_until(lambda: cluster.job(cluster.job_id).info().tasks == 5, "they are in the queue")
    assert command.ask("cancel", str(first.task_id)) == "1 cancelled\n"  # type: ignore[attr-defined]
    assert command.ask_json("cancel", "--job", cluster.job_id) == {"cancelled": 4}
    cancelled: list[Future[Any]] = [first, running, *others]
    for future in cancelled:
        assert "cancelled" in repr(future.exception(20))


def test_retry_by_id_and_by_job(command: Command, cluster: Cluster) -> None:
    task_id = failed_id(cluster)
    assert command.ask("retry", task_id) == "1 will run again\n"
    assert command.ask_json("retry", task_id)["retried"] in (0, 1)
    wait_until(lambda: not cluster.job(cluster.job_id).info().open, "it has failed again")
    assert command.ask_json("retry", "--job", cluster.job_id) == {"retried": 1}


def test_forget_deletes_a_jobs_results(command: Command, cluster: Cluster) -> None:
    assert [future.result(20) for future in [cluster.submit(give_back, n) for n in range(3)]] == [0, 1, 2]
    assert command.ask("forget", cluster.job_id) == "3 forgotten\n"
    ended = command.run("results", cluster.job_id)
    assert ended.returncode == 1
    assert "the queue knows no job" in ended.stderr


# verify


def test_verify_of_an_ended_job_finds_one_end_for_each_task(command: Command, cluster: Cluster) -> None:
    list(cluster.map(give_back, range(500), chunksize=1))
    failed_id(cluster)
    told = command.ask("verify", cluster.job_id)
    assert told == f"{cluster.job_id}: 501 tasks, each has exactly one end (500 done, 1 failed, 0 cancelled)\n"
    assert command.ask_json("verify", cluster.job_id)["problems"] == []


def test_verify_names_tasks_without_an_end(command: Command, cluster: Cluster, running: Future[str]) -> None:
    future = cluster.submit(square, 2)
    wait_until(lambda: cluster.job(cluster.job_id).info().tasks == 2, "both are in the queue")
    for words in (("verify", cluster.job_id), ("verify",)):
        ended = command.run(*words)
        assert ended.returncode == 1
        assert re.search(rf"leased, without an end: .*{running.task_id}", ended.stdout)  # type: ignore[attr-defined]
    told = json.loads(command.run("verify", cluster.job_id, "--json").stdout)
    waiting = [task_id for ids in told["open"].values() for task_id in ids]
    assert sorted(waiting) == sorted([running.task_id, future.task_id])  # type: ignore[attr-defined]
