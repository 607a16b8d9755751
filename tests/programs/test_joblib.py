"""joblib, and scikit-learn through it, on real workers."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV

from taskyard import Cluster
from taskyard.errors import SettingsError, TaskFailed
from taskyard.joblib import TaskyardBackend
from tests.contract.master_process import AUTHKEY, MasterProcess
from tests.harness import InThread, wait_until
from tests.programs.conftest import Connect, StartWorker
from tests.programs.tasks import Gate, Refused, held, refuse
from tests.programs.worker_process import WorkerProcess


@pytest.fixture(scope="module")
def workers(master: MasterProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[WorkerProcess]]:
    """Two of them."""
    folder = tmp_path_factory.mktemp("workers")
    processes = [WorkerProcess(master, folder / name) for name in ("one", "two")]
    for process in processes:
        process.wait_for("ready  ")
    yield processes
    for process in processes:
        process.close()


@pytest.fixture
def on_workers(workers: list[WorkerProcess], cluster: Cluster) -> Iterator[None]:
    with joblib.parallel_config(backend="taskyard", cluster=cluster):
        yield


@pytest.fixture
def settings(master: MasterProcess, workers: list[WorkerProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """They say where the cluster is."""
    monkeypatch.setenv("TASKYARD_URL", master.url)
    monkeypatch.setenv("TASKYARD_AUTHKEY", AUTHKEY.decode())


def supervisor_of(n: int) -> int:
    return os.getppid()


@pytest.fixture
def own_threads() -> Callable[[], list[str]]:
    """Names of a client's threads that were not there before the test: other tests' queues may have some."""
    before = set(threading.enumerate())

    def names() -> list[str]:
        return [one.name for one in threading.enumerate() if one.name.startswith("taskyard-") and one not in before]

    return names


def count_open(cluster: Cluster) -> int:
    counts = cluster.queue.stats()
    return sum(int(counts[state]) for state in ("ready", "delayed", "leased"))


# scikit-learn


@pytest.mark.usefixtures("workers")
def test_a_grid_search_on_two_workers_gives_exactly_what_it_gives_here(cluster: Cluster) -> None:
    features, labels = load_iris(return_X_y=True)
    grid = {"n_estimators": [5, 10], "max_depth": [2, 4], "max_features": ["sqrt", None]}

    def search() -> GridSearchCV:
        forest = RandomForestClassifier(random_state=7)
        return GridSearchCV(forest, grid, cv=4, return_train_score=True, error_score="raise").fit(features, labels)

    here = search()
    before = cluster.queue.stats()["done"]
    with joblib.parallel_config(backend="taskyard", cluster=cluster):
        there = search()
    assert cluster.queue.stats()["done"] > before
    results = {name for name in here.cv_results_ if not name.endswith("_time")}
    assert results == {name for name in there.cv_results_ if not name.endswith("_time")}
    assert there.cv_results_["params"] == here.cv_results_["params"]
    for name in results - {"params"}:
        np.testing.assert_array_equal(there.cv_results_[name], here.cv_results_[name])
    assert (there.best_params_, there.best_score_, there.best_index_) == (here.best_params_, here.best_score_, here.best_index_)
    np.testing.assert_array_equal(there.predict_proba(features), here.predict_proba(features))


# Results


@pytest.mark.usefixtures("on_workers")
def test_results_come_in_the_order_of_the_calls(workers: list[WorkerProcess]) -> None:
    assert Parallel()(delayed(lambda n: n * n)(n) for n in range(2000)) == [n * n for n in range(2000)]
    assert set(Parallel(batch_size=1)(delayed(supervisor_of)(n) for n in range(100))) == {worker.pid for worker in workers}


@pytest.mark.usefixtures("on_workers")
def test_a_generator_gives_each_result_once_it_is_there(gate: Gate) -> None:
    def first_or_held(n: int) -> int:
        if n > 0:
            held(str(gate.folder))
        return n

    results = Parallel(return_as="generator", batch_size=1)(delayed(first_or_held)(n) for n in range(4))
    assert next(results) == 0
    gate.open()
    assert list(results) == [1, 2, 3]
    unordered = Parallel(return_as="generator_unordered")(delayed(abs)(-n) for n in range(50))
    assert sorted(unordered) == list(range(50))


@pytest.mark.usefixtures("on_workers")
def test_a_generator_that_nobody_wants_any_more_leaves_nothing_behind(cluster: Cluster, gate: Gate) -> None:
    results = Parallel(return_as="generator", batch_size=1)(delayed(held)(str(gate.folder)) for _ in range(4))
    wait_until(lambda: len(gate.begun("task")) == 2, "two of them run")
    with pytest.warns(UserWarning, match="have been cancelled"):
        results.close()
    wait_until(lambda: count_open(cluster) == 0, "what ran was stopped")


@pytest.mark.usefixtures("on_workers")
def test_what_a_call_raises_reaches_the_caller_as_it_is_and_ends_the_other_calls(cluster: Cluster, gate: Gate) -> None:
    with pytest.raises(Refused, match="we are closed") as raised:
        Parallel(batch_size=1)([delayed(refuse)(451), delayed(held)(str(gate.folder)), delayed(held)(str(gate.folder))])
    assert raised.value.code == 451
    assert "in refuse" in str(raised.value.__cause__)
    wait_until(lambda: count_open(cluster) == 0, "the others were stopped")
    assert Parallel()(delayed(abs)(-n) for n in range(5)) == [0, 1, 2, 3, 4]


@pytest.mark.usefixtures("on_workers")
def test_a_call_that_cannot_be_pickled_raises_here() -> None:
    with pytest.raises(TypeError, match="pickle"):
        Parallel()(delayed(print)(threading.Lock()) for _ in range(3))


@pytest.mark.usefixtures("on_workers")
def test_a_call_that_takes_too_long_is_a_timeout_and_is_stopped(cluster: Cluster, gate: Gate) -> None:
    with pytest.raises(multiprocessing.TimeoutError):  # joblib's choice
        Parallel(timeout=0.3)(delayed(held)(str(gate.folder)) for _ in range(2))
    wait_until(lambda: count_open(cluster) == 0, "they were stopped")


def test_a_worker_that_is_killed_in_the_middle_loses_nothing(
    own_master: MasterProcess, start_worker: StartWorker, connect: Connect, gate: Gate
) -> None:
    own_master.start()
    victim, other = start_worker(own_master), start_worker(own_master)
    for worker in (victim, other):
        worker.wait_for("ready  ")

    def held_number(n: int) -> tuple[int, int]:
        return n, held(str(gate.folder))

    parallel = Parallel(backend=TaskyardBackend(connect(own_master)), batch_size=1)
    running = InThread(partial(parallel, [delayed(held_number)(n) for n in range(6)]))
    wait_until(lambda: {victim.pid, other.pid} == {worker for worker, _ in gate.begun("task")}, "both work")
    victim.close()
    gate.open()
    assert running.result(30) == [(n, other.pid) for n in range(6)]


# Where calls run


@pytest.mark.usefixtures("on_workers")
def test_minus_one_stands_for_all_slots_and_one_for_this_process() -> None:
    assert (joblib.effective_n_jobs(-1), joblib.effective_n_jobs(None), joblib.effective_n_jobs(5)) == (2, 2, 5)
    assert Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2
    with pytest.raises(ValueError, match="n_jobs == 0"):
        Parallel(n_jobs=0)(delayed(abs)(n) for n in range(2))


def test_calls_go_to_a_single_slot_too(own_master: MasterProcess, start_worker: StartWorker, connect: Connect) -> None:
    own_master.start()
    worker = start_worker(own_master)
    with joblib.parallel_config(backend="taskyard", cluster=connect(own_master)):
        assert Parallel(n_jobs=-1)(delayed(supervisor_of)(n) for n in range(2)) == [worker.pid] * 2


@pytest.mark.usefixtures("on_workers")
def test_parallel_calls_within_a_call_run_in_its_own_slot() -> None:
    def outer() -> tuple[int, list[int]]:
        return os.getpid(), Parallel(n_jobs=2)(delayed(os.getpid)() for _ in range(3))

    for outer_pid, inner_pids in Parallel(batch_size=1)(delayed(outer)() for _ in range(4)):
        assert inner_pids == [outer_pid] * 3
        assert outer_pid != os.getpid()


# Whose cluster it is


def test_a_cluster_that_was_passed_in_stays_open_for_the_next_call(workers: list[WorkerProcess], cluster: Cluster) -> None:
    with joblib.parallel_config(backend="taskyard", cluster=cluster):
        for _ in range(2):
            assert Parallel()(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
    assert cluster.submit(abs, -4).result(20) == 4


@pytest.mark.usefixtures("settings")
def test_the_settings_say_where_the_cluster_is_and_nothing_stays_open(own_threads: Callable[[], list[str]]) -> None:
    with joblib.parallel_config(backend="taskyard"):
        for _ in range(2):
            assert Parallel()(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
            assert own_threads() == []
        with Parallel() as parallel:
            assert [parallel(delayed(abs)(-n) for n in range(3)) for _ in range(2)] == [[0, 1, 2]] * 2
        with pytest.raises(Refused):
            Parallel()(delayed(refuse)(n) for n in range(3))
    assert own_threads() == []


@pytest.mark.usefixtures("settings")
def test_two_parallels_may_be_open_at_the_same_time(own_threads: Callable[[], list[str]], gate: Gate) -> None:
    with joblib.parallel_config(backend="taskyard"):
        late = Parallel(return_as="generator", batch_size=1)(delayed(held)(str(gate.folder)) for _ in range(1))
        assert Parallel()(delayed(abs)(-n) for n in range(3)) == [0, 1, 2]
        gate.open()
        assert len(list(late)) == 1
    assert own_threads() == []


@pytest.mark.usefixtures("workers")
def test_a_cluster_that_ends_too_early_is_an_error_and_nobody_waits(master: MasterProcess, connect: Connect, gate: Gate) -> None:
    cluster = connect(master)
    with joblib.parallel_config(backend="taskyard", cluster=cluster):
        results = Parallel(return_as="generator", batch_size=1, pre_dispatch=2)(delayed(held)(str(gate.folder)) for _ in range(4))
        wait_until(lambda: len(gate.begun("task")) == 2, "two of them run")
        cluster.shutdown(wait=False)
        gate.open()
        with pytest.raises(RuntimeError, match="after shutdown"):
            InThread(partial(list, results)).result(20)


# Options


@pytest.mark.usefixtures("workers")
def test_options_of_tasks_are_those_of_each_batch(cluster: Cluster, gate: Gate) -> None:
    with joblib.parallel_config(backend="taskyard", cluster=cluster, time_limit=0.3, retries=0):
        with pytest.raises(TaskFailed, match="time limit"):
            Parallel()(delayed(held)(str(gate.folder)) for _ in range(2))


def test_options_that_make_no_sense_are_refused_at_once(cluster: Cluster, tmp_path: Path) -> None:
    def configure(**options: Any) -> None:
        joblib.parallel_config(backend="taskyard", cluster=cluster, **options)

    with pytest.raises(TypeError, match="retry"):
        configure(retry=3)
    with pytest.raises(SettingsError, match="retries"):
        configure(retries="many")
    with pytest.raises(SettingsError, match="a key is one call's"):
        configure(key="the same for each")
