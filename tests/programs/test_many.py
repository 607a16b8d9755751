"""Many calls in one task: each has its own end, also where one of them takes its process along."""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from signal import SIGKILL, SIGSEGV

import psutil
import pytest

from taskyard import calls
from taskyard.calls import BY_VALUE
from taskyard.errors import TaskFailed
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.programs import tasks
from tests.programs.asking import ask, by_value, many, read_many, result_of, submit
from tests.programs.tasks import Gate
from tests.programs.worker_process import WorkerProcess, is_alive

WORKER = {"taskyard_log": "json"}
pytestmark = pytest.mark.usefixtures("worker")


def test_the_outcomes_of_many_calls_are_in_their_order(master: MasterProcess) -> None:
    assert read_many(ask(master, "square", many(*((n,) for n in range(300))))) == [tasks.square(n) for n in range(300)]


def test_many_calls_of_a_function_by_value(master: MasterProcess) -> None:
    function = by_value(lambda n: n + 1)
    pickled = calls.unpack(function).function
    assert read_many(ask(master, BY_VALUE, calls.pack_function(pickled, many((1,), (2,))))) == [2, 3]


def test_a_call_that_fails_is_its_own_affair(master: MasterProcess) -> None:
    unreadable = calls.pack_many([b"p\x80\x05I\x01.", *calls.unpack(many(("a",), ("b", "too many"))).payloads])
    broken, good, misfit = read_many(ask(master, "give_back", unreadable))
    assert isinstance(broken, Exception)
    assert good == "a"
    assert isinstance(misfit, TypeError)


@pytest.mark.parametrize("name", ["return_unpicklable", "find_road", "die_by_sys_exit"])
def test_a_value_or_an_exception_that_cannot_travel_or_an_exit_does_not_reach_the_calls_beside_it(
    name: str, master: MasterProcess
) -> None:
    result = ask(master, name, many((), (1,)))
    assert all(isinstance(outcome, Exception) for outcome in read_many(result))
    assert result.attempts == 1


def test_many_calls_tell_how_long_they_took(master: MasterProcess) -> None:
    before = time.monotonic()
    result = ask(master, "slow_square", many((2,), (3,)))
    seconds, _ = calls.unpack_outcomes(result.value)
    assert 0.02 <= seconds <= time.monotonic() - before


def test_calls_that_kill_their_process_fail_with_the_cause_and_cost_the_others_nothing(
    master: MasterProcess, worker: WorkerProcess, gate: Gate
) -> None:
    folder = str(gate.folder)
    poison = {40: SIGKILL, 41: SIGSEGV, 99: SIGKILL}
    result = ask(master, "mark_and_die", many(*((folder, n, int(poison.get(n, 0))) for n in range(100))), backoff=0.05)
    outcomes = read_many(result)
    assert [outcome for n, outcome in enumerate(outcomes) if n not in poison] == [n * n for n in range(100) if n not in poison]
    assert [str(outcomes[n]) for n in poison] == ["signal: SIGKILL (9)", "signal: SIGSEGV (11)", "signal: SIGKILL (9)"]
    assert all(isinstance(outcomes[n], TaskFailed) for n in poison)
    assert [len(gate.begun(f"call{n}")) for n in poison] == [3, 3, 3], "as often as a task of its own"
    assert result.attempts == 2
    assert {len(gate.begun(f"call{n}")) for n in range(42, 99)} == {1}, "no call runs again for another's sake"
    assert worker.process.poll() is None


def test_what_a_call_prints_in_the_process_of_its_own_is_in_the_log_with_the_tasks_id(
    master: MasterProcess, worker: WorkerProcess, gate: Gate
) -> None:
    number = uuid.uuid4().int % 10**9
    with master.queue() as queue:
        calls_args = (str(gate.folder), 1, int(SIGKILL)), (str(gate.folder), number)
        task_id = submit(queue, "mark_and_die", many(*calls_args), backoff=0.05)
        assert read_many(result_of(queue, task_id))[1] == number**2
    worker.wait_for(f"square of {number}")
    (line,) = (line for line in worker.log().splitlines() if f"square of {number}" in line)
    told = json.loads(line)
    assert (told["task"], told["name"], told["attempt"]) == (task_id, "mark_and_die", 2)


def test_a_function_that_kills_whoever_unpickles_it_fails_with_the_cause(master: MasterProcess) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return os._exit, (5,)

        def __call__(self) -> None: ...

    pickled = calls.unpack(by_value(Bomb())).function
    result = ask(master, BY_VALUE, calls.pack_function(pickled, many((), ())), backoff=0.05)
    assert (result.state, result.attempts) == ("failed", 3)
    assert result.cause == "exit: the task ended its process with status 5"


def in_processes_of_their_own(worker: WorkerProcess) -> list[psutil.Process]:
    return [process for process in psutil.Process(worker.pid).children(recursive=True) if "worker.careful" in process.cmdline()]


def begin_carefully(master: MasterProcess, gate: Gate, **fields: float) -> tuple[str, int]:
    """A task whose first call kills its slot, and whose second waits at the gate; returns its id and its process."""
    with master.queue() as queue:
        first = by_value(die_then_hold, str(gate.folder))
        unpacked = calls.unpack(first)
        payload = calls.pack_function(unpacked.function, calls.pack_many(unpacked.payloads * 2))
        task_id = submit(queue, BY_VALUE, payload, backoff=0.05, **fields)
    return task_id, wait_until(lambda: gate.begun("careful"), "it runs in a process of its own")[0][1]


def die_then_hold(folder: str) -> None:
    """Kill the slot in the first attempt, hold in the second."""
    from taskyard.context import attempt

    if attempt() == 1:
        os.kill(os.getpid(), SIGKILL)
    Gate(Path(folder)).pass_through("careful")


def test_calls_in_a_process_of_their_own_end_when_they_are_cancelled(
    master: MasterProcess, worker: WorkerProcess, gate: Gate
) -> None:
    task_id, pid = begin_carefully(master, gate)
    assert [process.pid for process in in_processes_of_their_own(worker)] == [pid]
    with master.queue() as queue:
        assert queue.cancel([task_id]) == 1
    wait_until(lambda: not is_alive(pid), "its process has ended")
    assert read_many(ask(master, "square", many((3,)))) == ["3 * 3 = 9"]


def test_calls_in_a_process_of_their_own_end_at_their_time_limit(master: MasterProcess, gate: Gate) -> None:
    task_id, pid = begin_carefully(master, gate, time_limit=12.0, retries=1)
    with master.queue() as queue:
        result = result_of(queue, task_id)
    assert (result.state, result.attempts, result.cause) == ("failed", 2, "time limit: still running after 12 s")
    wait_until(lambda: not is_alive(pid), "its process has ended")
