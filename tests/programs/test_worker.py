"""What a worker makes of tasks: values, exceptions, deaths, limits; and what a task gets to see."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from signal import SIGKILL, SIGSEGV
from typing import Any

import pytest

from taskyard import Cluster, calls, codec
from taskyard.errors import PayloadTooLarge, RemoteTraceback, TaskFailed
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import wait_until
from tests.programs import tasks
from tests.programs.asking import ask
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import Gate, held, square
from tests.programs.worker_process import READY, WorkerProcess, is_alive, run

LEASE = 4.0
MASTER = {"master_lease": LEASE, "master_payload_limit": 1_000_000}
WORKER = {"taskyard_log": "json"}
pytestmark = pytest.mark.usefixtures("worker")


# Values


def test_json_arguments_are_answered_in_json(master: MasterProcess) -> None:
    result = ask(master, "give_back", codec.encode_json(([{"text": "Übung", "n": [1, 2.5, None]}], {})))
    assert (result.state, result.value) == ("done", codec.encode_json({"text": "Übung", "n": [1, 2.5, None]}))
    assert ask(master, "square", b'j[[], {"n": 12}]').value == b'j"12 * 12 = 144"'


def test_arguments_that_cannot_be_read_fail_that_task_only(master: MasterProcess) -> None:
    for payload in (b"", b"x", b"pno pickle", b"j{", b'j["too", "many", "parts"]', b"j7"):
        result = ask(master, "give_back", payload)
        assert (result.state, result.attempts) == ("failed", 1)
        assert result.cause.startswith("exception: ")
    assert ask(master, "square", codec.encode(((3,), {}))).state == "done"


@pytest.mark.parametrize(
    ("name", "error"), [("return_unpicklable", r"(?i)pickle"), ("give_back", "required positional argument: 'value'")]
)
def test_a_value_that_cannot_travel_and_a_call_that_does_not_fit_are_failures_with_the_reason(
    name: str, error: str, cluster: Cluster
) -> None:
    with pytest.raises(Exception, match=error):
        cluster.submit(name).result(20)
    assert cluster.submit(square, 3).result(20) == "3 * 3 = 9"


def test_a_result_over_the_bound_fails_and_says_so(cluster: Cluster) -> None:
    future = cluster.submit(tasks.repeat, 2_000_000)
    with pytest.raises((TaskFailed, PayloadTooLarge), match=r"PayloadTooLarge: what the task returned can't be kept"):
        future.result(20)
    assert cluster.submit(tasks.repeat, 3).result(20) == b"xxx"


# What the queue is told beside


def test_how_long_attempts_ran_is_told_also_of_those_that_fail_and_of_those_that_are_ended(
    master: MasterProcess, cluster: Cluster
) -> None:
    futures = [cluster.submit(tasks.slow_square, n) for n in range(5)]
    assert [future.result(20) for future in futures] == [n * n for n in range(5)]
    with pytest.raises(LookupError):
        cluster.submit(tasks.find_road, "Oslo").result(20)
    with pytest.raises(TaskFailed):
        cluster.submit(tasks.die_by_overrunning).result(20)
    with cluster.queue.another() as queue:
        kinds = {kind.name: kind for kind in queue.kinds()}
    assert sum(kinds["slow_square"].run) == kinds["slow_square"].done == 5
    assert 0.05 <= kinds["slow_square"].run_seconds < 5
    assert sum(kinds["find_road"].run) == kinds["find_road"].attempts_failed >= 1
    killed = kinds["die_by_overrunning"]
    assert sum(killed.run) == killed.attempts_failed >= 1
    assert 0.4 <= killed.run_seconds / killed.attempts_failed < 5


# Exceptions


def test_an_exception_reaches_the_caller_with_type_message_and_remote_traceback(cluster: Cluster) -> None:
    with pytest.raises(LookupError, match=r"^'?no road to Rome'?$") as caught:
        cluster.submit(tasks.find_road, "Rome").result(20)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert "in find_road" in str(cause)
    assert "LookupError: no road to Rome" in str(cause)


def test_an_exception_of_ones_own_arrives_with_what_it_carries(cluster: Cluster) -> None:
    with pytest.raises(tasks.Refused) as caught:
        cluster.submit(tasks.refuse, 451).result(20)
    assert (caught.value.code, caught.value.args) == (451, (451, "we are closed"))


def test_an_exception_that_cannot_be_pickled_arrives_as_text_with_its_traceback(cluster: Cluster) -> None:
    with pytest.raises(TaskFailed, match="Unpicklable: the letter: no stamp") as caught:
        cluster.submit(tasks.raise_unpicklable).result(20)
    assert "in raise_unpicklable" in str(caught.value.__cause__)


# Deaths


@pytest.mark.parametrize(
    ("function", "args", "cause"),
    [
        (tasks.die_by, (SIGKILL,), "signal: SIGKILL (9)"),
        (tasks.die_by, (SIGSEGV,), "signal: SIGSEGV (11)"),
        (tasks.die_by_os_exit, (5,), "exit: the task ended its process with status 5"),
        (tasks.die_by_os_exit, (0,), "exit: the task ended its process with status 0"),
        (tasks.die_by_sys_exit, (3,), "exit: the task called sys.exit(3)"),
        (tasks.die_by_overrunning, (), "time limit: still running after 0.4 s"),
    ],
)
def test_a_task_that_takes_its_process_along_fails_after_three_attempts_with_the_true_cause_and_others_go_on(
    function: Callable[..., None],
    args: tuple[int, ...],
    cause: str,
    master: MasterProcess,
    worker: WorkerProcess,
    cluster: Cluster,
) -> None:
    before = [cluster.submit(square, n) for n in range(10)]
    poison = cluster.submit(function, *args)
    after = [cluster.submit(square, n) for n in range(10)]
    error = poison.exception(30)
    assert [future.result(20) for future in before + after] == [square(n) for n in [*range(10), *range(10)]]
    with master.queue() as queue:
        ended = {result.id: (result.state, result.attempts, result.cause) for result in queue.results(cluster.job_id, 0, 100, 0)}
    assert ended.pop(f"{cluster.job_id}-10") == ("failed", 3, cause)
    assert set(ended.values()) == {("done", 1, "")}
    assert worker.process.poll() is None
    assert isinstance(error, TaskFailed), "whoever asks for the result must not end as the task did"
    assert cause in str(error)


def test_a_running_task_that_is_cancelled_is_stopped(cluster: Cluster, gate: Gate) -> None:
    future = cluster.submit(held, str(gate.folder))
    _, slot = wait_until(lambda: gate.begun("task"), "it runs")[0]
    assert future.cancel()
    wait_until(lambda: not is_alive(slot), "its process has ended")
    assert cluster.submit(square, 4).result(20) == "4 * 4 = 16"
    assert len(gate.begun("task")) == 1


def test_a_task_that_no_worker_knows_fails_after_the_lease_time_and_names_those_that_are_known(cluster: Cluster) -> None:
    with pytest.raises(TaskFailed, match=r"^unknown task: no worker knows 'no_such_task'; they know .*\bheld, .*\bsquare, "):
        cluster.submit("no_such_task").result(LEASE + 20)


# The worker


def test_two_slots_run_two_tasks_at_once(own_master: MasterProcess, start_worker: StartWorker, gate: Gate) -> None:
    own_master.start()
    start_worker(own_master, worker_slots=2)
    with Cluster(own_master.url, AUTHKEY) as cluster:
        both = [cluster.submit(held, str(gate.folder), name) for name in ("one", "two")]
        wait_until(lambda: gate.begun("one") and gate.begun("two"), "both run")
        (one,), (two,) = gate.begun("one"), gate.begun("two")
        assert one[0] == two[0]
        assert one[1] != two[1]
        gate.open()
        assert {future.result(20) for future in both} == {one[0]}


def test_a_worker_whose_slots_have_died_keeps_no_task_from_others_until_new_ones_are_ready(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect, tmp_path: Path
) -> None:
    own_master.start()
    hold = tmp_path / "hold"
    (tmp_path / "held_app.py").write_text(
        f"import time, pathlib\nwhile pathlib.Path({str(hold)!r}).exists(): time.sleep(0.02)\nimport tests.programs.tasks\n"
    )
    path = f"{tmp_path}:{own_master.environment().get('PYTHONPATH', '')}"
    one = start_worker(own_master, worker_app="held_app", pythonpath=path)
    one.wait_for(READY)
    (slot,) = one.slots()
    cluster = connect(own_master)
    assert cluster.submit(square, 4).result(20) == "4 * 4 = 16"
    hold.touch()  # the next slot begins, and is not ready
    slot.kill()
    wait_until(lambda: [other for other in one.slots() if other.pid != slot.pid], "a new slot starts")
    future = cluster.submit(square, 5)  # which the worker has asked for while it had a slot
    start_worker(own_master)
    assert future.result(20) == "5 * 5 = 25"


def test_a_worker_tells_the_queue_of_its_python_and_its_periodic_tasks(master: MasterProcess) -> None:
    with master.queue() as queue:
        (told,) = wait_until(queue.workers, "it has told of itself")
        (schedule,) = wait_until(queue.schedules, "its schedules are known")
    assert told.python == calls.PYTHON
    assert calls.BY_VALUE in told.tasks
    assert (schedule.name, schedule.spec, schedule.timezone, schedule.missed) == ("new_year", "0 0 1 1 *", "UTC", "skip")


def test_an_app_with_a_periodic_task_that_needs_arguments_is_refused(own_master: MasterProcess, tmp_path: Path) -> None:
    (tmp_path / "daily.py").write_text("from taskyard import task\n@task(cron='0 8 * * *')\ndef report(day): ...\n")
    environment = own_master.environment() | {"WORKER_HEALTH_FILE": str(tmp_path / "health"), "WORKER_APP": "daily"}
    ended = run(environment, "worker", cwd=tmp_path)
    assert ended.returncode == 78
    assert "task 'report' is periodic, so it is called without arguments" in ended.stderr.splitlines()[-1]


def test_what_a_task_logs_carries_its_id(worker: WorkerProcess, cluster: Cluster) -> None:
    text = f"said by {uuid.uuid4().hex}"
    cluster.submit(tasks.log_a_line, text).result(20)
    worker.wait_for(text)
    (line,) = (line for line in worker.log().splitlines() if text in line)
    told: dict[str, Any] = json.loads(line)
    assert (told["event"], told["level"], told["task"]) == (text, "warning", f"{cluster.job_id}-0")
    assert (told["name"], told["attempt"]) == ("log_a_line", 1)


def test_a_failed_attempt_is_one_line_of_the_log_with_task_and_cause(worker: WorkerProcess, cluster: Cluster) -> None:
    cluster.submit(tasks.find_road, "Oz").exception(20)
    worker.wait_for("no road to Oz")
    (line,) = (line for line in worker.log().splitlines() if "no road to Oz" in line)
    told: dict[str, Any] = json.loads(line)
    assert (told["event"], told["task"], told["cause"]) == (
        "attempt failed",
        f"{cluster.job_id}-0",
        "exception: LookupError: no road to Oz",
    )


def test_tasks_do_not_see_the_authkey(cluster: Cluster) -> None:
    own, inherited = cluster.submit(tasks.environment).result(20)
    assert own["TASKYARD_URL"], "the rest of the environment is there"
    assert AUTHKEY.decode() not in "\n".join(own.values()) + inherited
