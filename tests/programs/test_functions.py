"""Functions by value: what a worker makes of them, and what it refuses."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import cloudpickle
import pytest

from taskyard import calls
from taskyard.calls import BY_VALUE
from taskyard.codec import encode
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.programs.asking import ask, by_value, read, result_of, submit
from tests.programs.conftest import StartWorker
from tests.programs.worker_process import WorkerProcess

pytestmark = pytest.mark.usefixtures("worker")


def callers(**names: Any) -> Callable[[str], Any]:
    """Makes functions of a caller's own program, which no worker can import."""
    space: dict[str, Any] = {"__name__": "__main__", **names}

    def make(text: str) -> Any:
        exec(text, space)
        return space["f"]

    return make


def test_a_function_of_the_callers_own_runs_with_all_that_it_refers_to(master: MasterProcess) -> None:
    offset = 10
    assert read(ask(master, BY_VALUE, by_value(lambda n: n + offset, 5))) == 15
    f = callers()("import os\nclass Box:\n  def __init__(self, n): self.n = n\ndef f(box): return Box(box.n * 2).n, os.getpid()")
    box = f.__globals__["Box"](21)
    doubled, pid = read(ask(master, BY_VALUE, by_value(f, box)))
    assert doubled == 42
    assert pid != os.getpid()


def test_a_function_that_was_sent_before_is_not_built_anew(master: MasterProcess) -> None:
    f = callers()("built = []\ndef f(n):\n  built.append(n)\n  return built")
    assert read(ask(master, BY_VALUE, by_value(f, 1))) == [1]
    assert read(ask(master, BY_VALUE, by_value(f, 2))) == [1, 2]


def test_a_function_of_another_python_fails_that_task_only_and_is_not_unpickled(master: MasterProcess, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "sprung",)

    payload = calls.pack_function(pickle.dumps(Trap()), encode(((), {})))
    theirs = payload.replace(calls.PYTHON.encode(), b"2.7", 1)
    result = ask(master, BY_VALUE, theirs)
    assert (result.state, result.attempts) == ("failed", 1)
    assert result.cause == f"exception: TaskyardError: a function of Python 2.7 can't run on Python {calls.PYTHON}"
    assert not (tmp_path / "sprung").exists()
    assert read(ask(master, "square", encode(((3,), {})))) == "3 * 3 = 9"
    assert ask(master, BY_VALUE, payload).state == "failed"
    assert (tmp_path / "sprung").exists(), "of the right Python it is"


@pytest.fixture
def strange() -> Any:
    """A module that this program has and the worker has not."""
    module = ModuleType("strange_module")
    exec("class Thing: pass\ndef f(thing=None): return thing", module.__dict__)
    sys.modules["strange_module"] = module
    yield module
    del sys.modules["strange_module"]


def test_a_module_that_the_worker_lacks_is_named_with_what_to_do(master: MasterProcess, strange: Any) -> None:
    for payload, what in (
        (by_value(strange.f), "the function"),
        (by_value(lambda thing: None, strange.Thing()), "its arguments"),
    ):
        result = ask(master, BY_VALUE, payload)
        error = read(result)
        assert isinstance(error, ModuleNotFoundError)
        assert error.name == "strange_module"
        assert str(error).startswith(f"{what} can't be read: the module 'strange_module' is not in the worker's image.")
        assert "requirements/worker.in" in str(error)
        assert "cloudpickle.register_pickle_by_value" in result.cause
    cloudpickle.register_pickle_by_value(strange)
    try:
        assert read(ask(master, BY_VALUE, by_value(strange.f, 7))) == 7
    finally:
        cloudpickle.unregister_pickle_by_value(strange)


def test_a_name_that_the_workers_module_lacks_is_told(master: MasterProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    import tests.programs.tasks as module

    newer = callers()("def f(): pass")
    newer.__module__, newer.__qualname__ = module.__name__, "newer"
    monkeypatch.setattr(module, "newer", newer, raising=False)
    error = read(ask(master, BY_VALUE, by_value(newer)))
    assert isinstance(error, AttributeError)
    assert "'newer'" in str(error)
    assert "another version of that code" in str(error)


@pytest.mark.parametrize("pickled", [b"no pickle", b"", pickle.dumps(7)])
def test_what_is_no_function_fails_that_task_only(pickled: bytes, master: MasterProcess, worker: WorkerProcess) -> None:
    before = worker.all_slots()
    result = ask(master, BY_VALUE, calls.pack_function(pickled, encode(((), {}))))
    assert (result.state, result.attempts) == ("failed", 1)
    assert result.cause.startswith("exception: ")
    assert worker.all_slots() == before


def test_a_value_that_cannot_travel_fails_with_the_reason(master: MasterProcess) -> None:
    f = callers()("import threading\ndef f(): return threading.Lock()")
    assert "cannot pickle '_thread.lock' object" in ask(master, BY_VALUE, by_value(f)).cause


def test_a_worker_for_names_only_leaves_functions_to_others(own_master: MasterProcess, start_worker: StartWorker) -> None:
    own_master.start()
    strict = start_worker(own_master, worker_accepts="names")
    strict.wait_for("ready  ")
    with own_master.queue() as queue:
        (known,) = wait_until(queue.workers, "it has told of itself")
        assert "square" in known.tasks
        assert not [name for name in known.tasks if name.startswith(calls.FUNCTIONS)]
        task_id = submit(queue, BY_VALUE, by_value(os.getppid))
        assert read(result_of(queue, submit(queue, "square", encode(((3,), {}))))) == "3 * 3 = 9"
        assert queue.results(task_id, 0, 1, 0) == []
        other = start_worker(own_master)
        assert read(result_of(queue, task_id)) == other.pid


def test_a_worker_for_names_only_refuses_a_function_under_the_name_of_a_task(
    own_master: MasterProcess, start_worker: StartWorker
) -> None:
    own_master.start()
    start_worker(own_master, worker_accepts="names")
    result = ask(own_master, "square", by_value(os.getppid))
    assert result.cause == "exception: TaskyardError: this worker takes tasks by name only (WORKER_ACCEPTS=names)"


# Through `Cluster`, as callers do it. Classes of a notebook exist in the caller's process only.

NOTEBOOK = """
from taskyard import Cluster, task

class Refused(Exception):
    pass

class Point:
    def __init__(self, x):
        self.x = x

def raise_own():
    raise Refused("closed")

@task(priority=1)
def by_name(n):
    return n + 1

with Cluster() as cluster:
    try:
        cluster.submit(raise_own).result(20)
    except Refused as error:
        print("its own exception:", error)
    print("its own class:", type(cluster.submit(Point, 3).result(20)) is Point)
    print("a closure:", cluster.submit(lambda x: lambda y: x + y, 3).result(20)(4))
    print("a task of its own:", cluster.submit(by_name, 4).result(20))
    print("an argument:", cluster.submit(lambda f, p: f(p.x), lambda n: n * n, Point(5)).result(20))
    print("mapped:", list(cluster.map(lambda p: Point(p.x + 1).x, map(Point, range(3)))))
"""


def test_what_is_defined_in_a_notebook_goes_there_and_comes_back_as_it_was(master: MasterProcess) -> None:
    ended = subprocess.run(
        [sys.executable, "-"], input=NOTEBOOK, env=master.environment(), capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.stderr == ""
    assert ended.stdout.splitlines() == [
        "its own exception: closed",
        "its own class: True",
        "a closure: 7",
        "a task of its own: 5",
        "an argument: 25",
        "mapped: [1, 2, 3]",
    ]
