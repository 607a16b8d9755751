"""`LocalCluster`: a master and workers without Docker, and that nothing of them is left, however it ends."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from taskyard import Cluster, LocalCluster
from taskyard.errors import Detached, SettingsError
from taskyard.transport import RemoteQueue
from tests.contract.master_process import ROOT, MasterProcess
from tests.harness import InThread, wait_until
from tests.programs.conftest import SOON, programs
from tests.programs.tasks import Gate, held

APP = "tests.programs.tasks"


Script = Callable[[str], "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path, nothing_is_left: object) -> Iterator[Script]:
    """Starts a script of this text, in a session of its own."""
    started: list[subprocess.Popen[str]] = []

    def run(text: str) -> subprocess.Popen[str]:
        (tmp_path / "script.py").write_text(text)
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started.append(
            subprocess.Popen(
                [sys.executable, "script.py"],
                cwd=tmp_path,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
        )
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.communicate()


# What it does


def test_functions_and_tasks_run_and_leaving_the_with_block_ends_all_processes(
    mark: str, nothing_is_left: Callable[[], None]
) -> None:
    with LocalCluster(2, slots=2, app=APP) as cluster:
        assert [worker.slots for worker in cluster.workers()] == [2, 2]
        assert len(programs(mark, "-m master")) == 1
        assert len(programs(mark, "-m worker")) == 2
        assert list(cluster.map(lambda n: n * n, range(5))) == [0, 1, 4, 9, 16]
        assert cluster.submit("square", 3).result(20) == "3 * 3 = 9"
        late = cluster.submit(lambda: "waited for")
    assert late.result(0) == "waited for"
    assert programs(mark, "-m master") + programs(mark, "-m worker") == []
    wait_until(lambda: not programs(mark), "all have ended, multiprocessing's own helpers too", 2)


def test_what_a_task_prints_stands_on_standard_error_and_nothing_else_does_while_all_is_well(start: Script) -> None:
    script = start("from taskyard import LocalCluster\nwith LocalCluster(1) as c:\n    c.submit(print, 'hello').result()\n")
    said, told = script.communicate(timeout=30)
    assert (script.returncode, said) == (0, "")
    assert [line.split()[2:4] for line in told.splitlines()] == [["]", "hello"]]


def test_tasks_run_in_the_folder_of_the_program_that_started_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_is_left: object
) -> None:
    monkeypatch.chdir(tmp_path)
    with LocalCluster(1) as cluster:
        assert cluster.submit(os.getcwd).result(20) == str(tmp_path)


def test_settings_of_another_cluster_do_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_is_left: object
) -> None:
    (tmp_path / ".env").write_text("TASKYARD_AUTHKEY=another\nMASTER_PORT=1\nWORKER_ACCEPTS=names\nWORKER_APP=no.such.module\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TASKYARD_URL", "manager://elsewhere:5000")
    monkeypatch.setenv("WORKER_SLOTS", "7")
    monkeypatch.setenv("MASTER_WORKER_KEY_FILE", str(tmp_path / "no such key"))
    monkeypatch.setenv("TASKYARD_TLS_CERT", str(tmp_path / "no such certificate"))
    with LocalCluster(1) as cluster:
        assert cluster.submit(lambda: 1 + 1).result(20) == 2
        assert [worker.slots for worker in cluster.workers()] == [1]


def test_a_program_that_does_not_start_is_an_error_with_its_last_words(
    nothing_is_left: Callable[[], None], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError, match=r"the worker has ended with exit code 78:\n.*no\.such\.module"):
        LocalCluster(2, app="no.such.module")
    (tmp_path / "data").touch()
    with pytest.raises(Exception, match=r"the master has ended with exit code \d+:\n.*data"):
        LocalCluster(1, folder=tmp_path / "data")
    nothing_is_left()


@pytest.mark.parametrize("program", ["worker", "master"])
def test_a_program_that_was_killed_is_started_again(
    program: str, mark: str, nothing_is_left: object, capsys: pytest.CaptureFixture[str]
) -> None:
    with LocalCluster(1) as cluster:
        (process,) = programs(mark, f"-m {program}")
        process.kill()
        assert cluster.submit(lambda: "still there").result(30) == "still there"
        (successor,) = programs(mark, f"-m {program}")
        assert successor.pid != process.pid
    assert f"a {program} has ended with exit code -9; starting it again" in capsys.readouterr().err


# A folder


def test_a_folder_keeps_tasks_and_results_for_the_next_cluster(
    tmp_path: Path, gate: Gate, nothing_is_left: Callable[[], None]
) -> None:
    cluster = LocalCluster(1, app=APP, folder=tmp_path / "data")
    assert cluster.submit("square", 2).result(20) == "2 * 2 = 4"
    future = cluster.submit(held, str(gate.folder))
    wait_until(lambda: gate.begun("task"), "it runs")
    job = cluster.detach()
    with pytest.raises(Detached):
        future.result(0)
    nothing_is_left()
    gate.open()
    with LocalCluster(1, app=APP, folder=tmp_path / "data") as cluster:
        first, second = cluster.job(job).results()
        assert first.result() == "2 * 2 = 4"
        assert (second.state, second.attempts) == ("done", 1)


def test_a_cluster_without_a_folder_can_not_be_left_alone(nothing_is_left: object) -> None:
    with LocalCluster(1) as cluster, pytest.raises(SettingsError, match=r"LocalCluster\(folder=...\) keeps them"):
        cluster.detach()


# Ends


def test_an_exception_ends_all_processes(mark: str, nothing_is_left: Callable[[], None]) -> None:
    with pytest.raises(ZeroDivisionError), LocalCluster(1):
        _ = 1 // 0
    assert programs(mark, "-m master") + programs(mark, "-m worker") == []
    wait_until(lambda: not programs(mark), "all have ended, multiprocessing's own helpers too", 2)


def test_shutdown_without_waiting_ends_the_processes_once_all_results_are_there(
    mark: str, gate: Gate, nothing_is_left: Callable[[], None]
) -> None:
    cluster = LocalCluster(1, app=APP)
    future = cluster.submit(held, str(gate.folder))
    cluster.shutdown(wait=False)
    wait_until(lambda: gate.begun("task"), "it runs")
    assert not future.done()
    gate.open()
    assert future.result(20) > 0
    nothing_is_left()


def test_a_cluster_that_nobody_keeps_ends(mark: str, nothing_is_left: Callable[[], None]) -> None:
    cluster = LocalCluster(1)
    assert programs(mark)
    del cluster
    gc.collect()
    nothing_is_left()


def test_a_script_without_a_main_guard_starts_one_cluster_and_ends_with_its_results(
    start: Script, tmp_path: Path, nothing_is_left: Callable[[], None]
) -> None:
    # A module of that name lies beside it, and no with block ends it.
    (tmp_path / "worker.py").write_text("raise SystemExit('this is not the worker')")
    script = start("""
from pathlib import Path
from taskyard import LocalCluster

with open("starts", "a") as file:
    file.write("started\\n")

def double(n):
    return 2 * n

cluster = LocalCluster(2)
print(sum(cluster.map(double, range(100))))
cluster.submit(Path("last").write_text, "done")
""")
    out, err = script.communicate(timeout=60)
    assert (script.returncode, out, err) == (0, "9900\n", "")
    assert (tmp_path / "starts").read_text() == "started\n"
    assert (tmp_path / "last").read_text() == "done"
    nothing_is_left()


HOLDS = """
import os, sys, time
from pathlib import Path
from taskyard import LocalCluster

def hold(name):
    Path(name).touch()
    time.sleep(600)

with LocalCluster(2) as cluster:
    futures = [cluster.submit(hold, name) for name in ("one", "two", "three")]
    {then}
    futures[0].result()
"""


@pytest.mark.parametrize("then", ["", "1 // 0"])
def test_ctrl_c_ends_all_processes_promptly_whatever_runs(
    then: str, start: Script, tmp_path: Path, nothing_is_left: Callable[[], None]
) -> None:
    script = start(HOLDS.format(then=then))
    wait_until(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists(), "both run")
    script.send_signal(signal.SIGINT)
    _, err = script.communicate(timeout=SOON)
    assert script.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    nothing_is_left()


@pytest.mark.parametrize("then", ["", "os.fork() or time.sleep(600)"])
def test_a_program_that_is_killed_takes_its_processes_with_it(
    then: str, start: Script, mark: str, tmp_path: Path, nothing_is_left: Callable[[], None]
) -> None:
    script = start(HOLDS.format(then=then))
    wait_until(lambda: (tmp_path / "one").exists() and (tmp_path / "two").exists(), "both run")
    script.kill()
    script.wait(10)
    # A child that the program had forked goes on; the cluster must not.
    wait_until(lambda: not programs(mark, "-m master") and not programs(mark, "-m worker"), "the cluster has ended", SOON)
    for child in programs(mark, "script.py"):
        child.kill()
    nothing_is_left()


# The parts


def test_a_master_with_a_port_of_the_systems_choice_tells_its_address(tmp_path: Path) -> None:
    told = tmp_path / "address"
    told.write_text("of another time")

    def tells() -> str | None:
        try:
            return told.read_text().replace("of another time", "")
        except FileNotFoundError:  # the one of another time is gone, and its own is not there yet
            return None

    master = MasterProcess(tmp_path / "master", master_port=0, master_address_file=told)
    try:
        master.start(wait=False)
        address = wait_until(tells, "it is told")
        with RemoteQueue(f"manager://{str(address).strip()}", b"the key of a real master", 10.0) as queue:
            assert queue.stats()["ready"] == 0
    finally:
        master.close()


@pytest.mark.parametrize("program", ["master", "worker"])
def test_a_program_on_a_leash_ends_well_with_its_standard_input(program: str, own_master: MasterProcess, tmp_path: Path) -> None:
    environment = own_master.environment() | {"WORKER_APP": APP, "WORKER_HEALTH_FILE": str(tmp_path / "worker-health")}
    if program == "worker":
        own_master.start()
    with subprocess.Popen(
        [sys.executable, "-m", program, "--leash"],
        cwd=own_master.folder,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stderr is not None
        process.stdin.write("what is typed says nothing\n")
        process.stdin.flush()
        log = ""
        while ("serving" if program == "master" else "ready  ") not in log:
            log += InThread(process.stderr.readline).result(20)
        process.stdin.close()
        assert InThread(process.wait).result(20) == 0
        assert "Traceback" not in process.stderr.read()


def test_other_clients_join_a_local_cluster(nothing_is_left: object) -> None:
    with LocalCluster(1) as local, Cluster(local.queue.url, local._processes.authkey) as other:
        assert other.submit(lambda: "of another client").result(20) == "of another client"
