"""Jobs that outlive their client, and calls that are made once whoever makes them."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from taskyard import Cluster
from taskyard.errors import Detached, NoSuchJob, SettingsError, TaskFailed
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.programs.conftest import Connect
from tests.programs.tasks import Gate, give_back, held, refuse, slow_square
from tests.programs.worker_process import WorkerProcess

WORKER = {"worker_slots": 2}
pytestmark = pytest.mark.usefixtures("worker")
CLIENT = """
import sys
from taskyard import Cluster
from tests.programs.tasks import slow_square
cluster = Cluster()
futures = [cluster.submit(slow_square, n) for n in range(500)]
futures[20].result()
print(cluster.job_id, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def killed_client(master: MasterProcess, tmp_path: Path) -> str:
    """The job of a client that was killed after some twenty of five hundred results."""
    with subprocess.Popen(
        [sys.executable, "-c", CLIENT], env=master.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        job = client.stdout.readline().strip()
        client.send_signal(signal.SIGKILL)
    assert job
    return job


def test_a_new_client_reads_all_results_of_one_that_was_killed(cluster: Cluster, killed_client: str) -> None:
    job = cluster.job(killed_client)
    results = list(job.results(timeout=20))
    assert {one.number: one.result() for one in results} == {n: n * n for n in range(500)}
    assert len(results) == 500
    info = job.info()
    assert (info.tasks, info.done, info.open) == (500, 500, 0)


def test_results_go_on_behind_a_cursor(cluster: Cluster) -> None:
    futures = [cluster.submit(slow_square, n) for n in range(20)]
    [future.result(20) for future in futures]
    job = cluster.job(cluster.job_id)
    whole = list(job.results())
    assert [one.cursor for one in whole] == sorted({one.cursor for one in whole})
    for position in (0, 7, 19):
        assert list(job.results(after=whole[position].cursor)) == whole[position + 1 :]


def test_calls_that_shared_a_task_are_told_one_by_one_and_none_is_lost_behind_a_cursor(cluster: Cluster) -> None:
    assert list(cluster.map(give_back, range(10), chunksize=5)) == list(range(10))
    job = cluster.job(cluster.job_id)
    results = list(job.results())
    assert {one.number: one.result() for one in results} == {n: n for n in range(10)}
    for position, one in enumerate(results):
        left = {other.number for other in job.results(after=one.cursor)}
        assert left >= {other.number for other in results[position + 1 :]}
    assert list(job.results(after=results[-1].cursor)) == []


def test_a_failed_call_of_a_job_raises_when_its_result_is_asked_for(cluster: Cluster) -> None:
    futures = [cluster.submit(give_back, 1), cluster.submit(refuse, 3), cluster.submit(give_back, 2)]
    wait_until(lambda: all(future.done() for future in futures), "all have ended")
    (failed,) = [one for one in cluster.job(cluster.job_id).results() if one.state == "failed"]
    assert failed.number == 1
    with pytest.raises(Exception, match="we are closed"):
        failed.result()


def test_results_that_there_are_can_be_had_without_waiting(cluster: Cluster, gate: Gate) -> None:
    assert cluster.submit(give_back, 1).result(20) == 1
    running = cluster.submit(held, str(gate.folder))
    job = cluster.job(cluster.job_id)
    assert [one.result() for one in job.results(wait=False)] == [1]
    with pytest.raises(TimeoutError, match="no result of job"):
        list(job.results(timeout=0.3))
    gate.open()
    running.result(20)
    assert len(list(job.results())) == 2


def test_a_job_that_nobody_knows_is_said_to_be_unknown(cluster: Cluster) -> None:
    with pytest.raises(NoSuchJob, match="the queue knows no job 'nightly'"):
        cluster.job("nightly").info()
    with pytest.raises(NoSuchJob):
        next(iter(cluster.job("nightly").results()))


def test_a_forgotten_job_is_gone(cluster: Cluster) -> None:
    [cluster.submit(give_back, n).result(20) for n in range(3)]
    job = cluster.job(cluster.job_id)
    assert job.forget() == 3
    with pytest.raises(NoSuchJob):
        job.info()


def test_all_that_is_open_of_a_job_can_be_cancelled(
    cluster: Cluster, connect: Connect, master: MasterProcess, gate: Gate
) -> None:
    futures = [cluster.submit(held, str(gate.folder), str(n)) for n in range(6)]
    wait_until(lambda: gate.begun("0") and gate.begun("1"), "two run")
    wait_until(lambda: cluster.job(cluster.job_id).info().tasks == 6, "all have been sent")
    assert connect(master).job(cluster.job_id).cancel() == 6
    for future in futures:
        with pytest.raises(TaskFailed, match="cancelled"):
            future.result(20)


def test_a_client_can_leave_its_calls_in_the_queue(master: MasterProcess, connect: Connect, gate: Gate) -> None:
    leaving = connect(master)
    futures = [leaving.submit(held, str(gate.folder), str(n)) for n in range(5)]
    job = leaving.detach()
    with pytest.raises(Detached, match=r"cluster.job\('"):
        futures[0].result(0)
    with pytest.raises(RuntimeError, match="after shutdown"):
        leaving.submit(give_back, 1)
    gate.open()
    assert len([one.result() for one in connect(master).job(job).results(timeout=20)]) == 5


def test_several_clients_may_submit_under_one_job(master: MasterProcess) -> None:
    for first in (0, 10):
        with Cluster(master.url, b"the key of a real master", job="nightly run") as cluster:
            [cluster.submit(give_back, first + n) for n in range(3)]
    with Cluster(master.url, b"the key of a real master", job="nightly run") as cluster:
        results = [one.result() for one in cluster.job("nightly run").results()]
        assert sorted(results) == [0, 1, 2, 10, 11, 12]
        assert cluster.job("nightly run").forget() == 6


# Idempotency keys


def test_a_second_submit_with_a_key_gives_the_first_ones_future(cluster: Cluster, gate: Gate) -> None:
    invoice = cluster.options(key="invoice 17")
    first = invoice.submit(held, str(gate.folder), "invoice")
    wait_until(lambda: gate.begun("invoice"), "it runs")
    assert invoice.submit(held, str(gate.folder), "invoice") is first
    gate.open()
    pid = first.result(20)
    assert invoice.submit(held, str(gate.folder), "invoice").result(20) == pid
    assert len(gate.begun("invoice")) == 1


@pytest.mark.parametrize("when", ["while it runs", "when it has ended"])
def test_another_clients_call_with_the_same_key_has_the_first_ones_result(
    master: MasterProcess, connect: Connect, gate: Gate, when: str
) -> None:
    first = connect(master).options(key=f"once {when}").submit(held, str(gate.folder), "once")
    wait_until(lambda: gate.begun("once"), "it runs")
    if when == "when it has ended":
        gate.open()
        first.result(20)
    second = connect(master).options(key=f"once {when}").submit(held, str(gate.folder), "once")
    gate.open()
    assert second.result(20) == first.result(20)
    assert len(gate.begun("once")) == 1


def test_a_key_holds_for_one_task_only(cluster: Cluster) -> None:
    keyed = cluster.options(key="17")
    assert keyed.submit(give_back, "a").result(20) == "a"
    assert keyed.submit(slow_square, 4).result(20) == 16
    assert keyed.submit(give_back, "b").result(20) == "a"


def test_a_key_is_no_option_of_map(cluster: Cluster) -> None:
    with pytest.raises(SettingsError, match="map makes many"):
        cluster.options(key="17").map(give_back, range(3))


# Other options of a call


@pytest.fixture
def busy(cluster: Cluster, gate: Gate, worker: WorkerProcess) -> Iterator[None]:
    running = [cluster.submit(held, str(gate.folder), f"busy-{n}") for n in range(2)]
    wait_until(lambda: gate.begun("busy-0") and gate.begun("busy-1"), "both slots run")
    yield
    gate.open()
    [future.result(20) for future in running]


@pytest.mark.usefixtures("busy")
def test_a_calls_priority_reaches_the_queue_which_leases_by_it(cluster: Cluster, gate: Gate) -> None:
    futures = [cluster.options(priority=n).submit(give_back, n) for n in range(3)]
    with cluster.queue.another() as queue:
        ids = [f"{cluster.job_id}-{n}" for n in range(2, 5)]  # behind the two that run
        wait_until(lambda: len(queue.show(ids)) == 3, "the queue has them")
        assert [details.priority for details in queue.show(ids)] == [0, 1, 2]
    gate.open()
    assert [future.result(20) for future in futures] == [0, 1, 2]


def test_a_call_with_a_delay_or_a_moment_waits_for_it(cluster: Cluster) -> None:
    later = cluster.options(delay=timedelta(hours=1)).submit(give_back, 1)
    at = cluster.options(at=datetime.now(UTC) + timedelta(hours=2)).submit(give_back, 2)
    past = cluster.options(at=datetime.now(UTC) - timedelta(hours=2)).submit(give_back, 3)
    assert past.result(20) == 3
    with cluster.queue.another() as queue:
        details = queue.show([f"{cluster.job_id}-{n}" for n in range(2)])
    assert [one.state for one in details] == ["delayed", "delayed"]
    assert [round((one.due - one.submitted) / 60) for one in details] == [60, 120]
    assert later.cancel()
    assert at.cancel()


@pytest.mark.usefixtures("busy")
def test_a_call_that_could_not_begin_in_time_has_expired(cluster: Cluster) -> None:
    future = cluster.options(expiry=0.2).submit(give_back, 1)
    with pytest.raises(TaskFailed, match=r"expired: not begun within 0\.2 s"):
        future.result(20)


def test_retries_follow_only_the_errors_that_are_worth_one(cluster: Cluster, gate: Gate) -> None:
    def attempts(error: type[Exception], retry_on: type[Exception]) -> int:
        def flaky() -> None:
            raise error("not now")

        future = cluster.options(retries=2, backoff=0.01, retry_on=retry_on).submit(flaky)
        with pytest.raises(error):
            future.result(20)
        (result,) = [one for one in cluster.job(cluster.job_id).results() if one.task_id == future.task_id]  # type: ignore[attr-defined]
        return result.attempts

    assert attempts(ConnectionResetError, retry_on=OSError) == 3
    assert attempts(ValueError, retry_on=OSError) == 1


def test_an_option_that_there_is_not_or_that_makes_no_sense_is_refused_where_it_stands(cluster: Cluster) -> None:
    with pytest.raises(TypeError, match="retires"):
        cluster.options(retires=3)
    with pytest.raises(TypeError, match="cron is an option of @task"):
        cluster.options(cron="* * * * *")
    with pytest.raises(SettingsError, match="time_limit=-1: expected seconds"):
        cluster.options(time_limit=-1)
    with pytest.raises(SettingsError, match="not both"):
        cluster.options(delay=3).options(at=datetime.now(UTC))
