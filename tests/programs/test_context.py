"""What a running task may ask and tell: progress, attempt, cancelled, logger; and which exceptions are worth a retry."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from signal import SIGKILL

import pytest

from taskyard import calls
from taskyard.calls import BY_VALUE
from taskyard.codec import encode
from taskyard.model import Running
from taskyard.transport import RemoteQueue
from tests.contract.master_process import MasterProcess
from tests.harness import wait_until
from tests.programs.asking import ask, by_value, read, result_of, submit
from tests.programs.tasks import Gate
from tests.programs.worker_process import WorkerProcess, is_alive

WORKER = {"taskyard_log": "json", "worker_slots": 2}
pytestmark = pytest.mark.usefixtures("worker")


@pytest.fixture
def queue(master: MasterProcess) -> Iterator[RemoteQueue]:
    with master.queue() as queue:
        yield queue


def arguments(*args: object) -> bytes:
    return encode((args, {}))


# Progress


def words_of(queue: RemoteQueue, task_id: str) -> tuple[float, float, str] | None:
    """What the queue knows of its progress; None when it does not run."""
    told: list[Running] = queue.running(task_id, 10)
    return (told[0].done, told[0].total, told[0].note) if told else None


def test_the_newest_word_of_progress_of_each_running_task_is_known(queue: RemoteQueue, gate: Gate) -> None:
    words = [(float(n), 50.0, f"step {n}") for n in range(51)]
    folder = str(gate.folder)
    first = submit(queue, "tell", arguments(folder, *words))
    second = submit(queue, "tell", arguments(folder, (3, 0, "x" * 1000)))
    wait_until(lambda: words_of(queue, first) == (50.0, 50.0, "step 50"), "the last word", 10)
    wait_until(lambda: words_of(queue, second) == (3.0, 0.0, "x" * 200), "the word of the other, cut", 10)
    gate.open()
    assert read(result_of(queue, first)) == first, "it knows its id"
    assert words_of(queue, first) is None


def test_a_task_has_no_progress_of_the_one_that_ran_before_it(queue: RemoteQueue, gate: Gate) -> None:
    folder = str(gate.folder)
    others = [submit(queue, "tell", arguments(folder, (n, 9, "mine"))) for n in (1, 2)]
    for task_id in others:
        wait_until(lambda task_id=task_id: (words_of(queue, task_id) or ("", "", ""))[2] == "mine", "it has told")  # type: ignore[misc]
    silent = Gate(gate.folder / "silent")
    task_id = submit(queue, "tell", arguments(str(silent.folder)))
    gate.open()
    wait_until(lambda: silent.begun("tell"), "it runs")
    teller = submit(queue, "tell", arguments(str(silent.folder), (7, 7, "told")))
    wait_until(lambda: words_of(queue, teller) == (7.0, 7.0, "told"), "a heartbeat has come since")
    assert words_of(queue, task_id) == (0.0, 0.0, "")
    silent.open()


# Attempts


def test_an_attempt_knows_its_number(queue: RemoteQueue, gate: Gate) -> None:
    task_id = submit(queue, "raise_in_turn", arguments(str(gate.folder), "OSError", "OSError"), retries=5, backoff=0.02)
    result = result_of(queue, task_id)
    assert (read(result), result.attempts) == (3, 3)


@pytest.mark.parametrize(
    ("kinds", "attempts", "state"),
    [
        (("ValueError",), 1, "failed"),
        (("OSError", "ValueError"), 2, "failed"),
        (("FileNotFoundError",), 2, "done"),
    ],
    ids=["another", "another one later", "one derived from it"],
)
def test_an_exception_that_is_not_among_those_worth_a_retry_is_the_end(
    kinds: tuple[str, ...], attempts: int, state: str, master: MasterProcess, gate: Gate
) -> None:
    result = ask(master, "raise_in_turn", arguments(str(gate.folder), *kinds), retries=5, backoff=0.02)
    assert (result.state, result.attempts, len(gate.begun("attempt"))) == (state, attempts, attempts)


def test_what_a_call_says_of_retries_goes_before_what_its_task_says(master: MasterProcess, gate: Gate) -> None:
    payload = calls.pack_retry_on(("ValueError",), arguments(str(gate.folder), "ValueError", "OSError"))
    result = ask(master, "raise_in_turn", payload, retries=5, backoff=0.02)
    assert (result.state, result.attempts) == ("failed", 2)
    assert isinstance(read(result), OSError)


def test_a_function_by_value_has_the_retries_that_its_call_says(master: MasterProcess) -> None:
    def fail(name: str) -> None:
        raise {"KeyError": KeyError, "OSError": OSError}[name]()

    for name, attempts in (("KeyError", 3), ("OSError", 1)):
        payload = calls.pack_retry_on(calls.names_of([LookupError]), by_value(fail, name))
        assert ask(master, BY_VALUE, payload, retries=2, backoff=0.02).attempts == attempts


def test_one_call_that_is_sent_as_many_is_retried_as_a_task(master: MasterProcess, gate: Gate) -> None:
    one = calls.pack_many([arguments(str(gate.folder), "OSError")])
    result = ask(master, "raise_in_turn", one, retries=5, backoff=0.02)
    assert (result.state, result.attempts) == ("done", 2)
    _, outcomes = calls.unpack_outcomes(result.value)
    assert outcomes == [(True, encode(2))]


def test_a_death_is_retried_whatever_exceptions_are_worth_it(master: MasterProcess, gate: Gate) -> None:
    payload = calls.pack_retry_on((), arguments(str(gate.folder), 1, int(SIGKILL)))
    result = ask(master, "mark_and_die", payload, retries=1, backoff=0.02)
    assert (result.attempts, result.cause) == (2, "signal: SIGKILL (9)")


# Cancelling


def test_a_task_that_asks_whether_it_is_cancelled_can_tidy_up_and_its_process_lives_on(
    queue: RemoteQueue, worker: WorkerProcess, gate: Gate
) -> None:
    before = worker.all_slots()
    task_id = submit(queue, "tidy_up", arguments(str(gate.folder)))
    wait_until(lambda: gate.begun("asks"), "it runs")
    assert queue.cancel([task_id]) == 1
    wait_until(lambda: gate.begun("tidy"), "it was told", 10)
    ids = [submit(queue, "square", arguments(n)) for n in range(10)]
    assert [read(result_of(queue, each)) for each in ids] == [f"{n} * {n} = {n * n}" for n in range(10)]
    assert worker.all_slots() == before
    assert result_of(queue, task_id).state == "cancelled"


def test_a_cancelled_task_that_does_not_end_is_ended_after_some_seconds(
    queue: RemoteQueue, worker: WorkerProcess, gate: Gate
) -> None:
    task_id = submit(queue, "tidy_up", arguments(str(gate.folder), False))
    wait_until(lambda: gate.begun("asks"), "it runs")
    assert queue.cancel([task_id]) == 1
    (_, pid) = wait_until(lambda: gate.begun("tidy"), "it was told", 10)[0]
    assert is_alive(pid)
    wait_until(lambda: not is_alive(pid), "its process has ended", 10)
    assert result_of(queue, task_id).state == "cancelled"
    assert worker.process.poll() is None
    assert len(gate.begun("asks")) == 1


# The log


def test_a_line_of_the_tasks_logger_carries_its_id(queue: RemoteQueue, worker: WorkerProcess) -> None:
    text = f"said by {uuid.uuid4().hex}"
    task_id = submit(queue, "log_by_context", arguments(text))
    assert read(result_of(queue, task_id)) is None
    worker.wait_for(text)
    (line,) = (line for line in worker.log().splitlines() if text in line)
    told = json.loads(line)
    assert (told["event"], told["level"], told["task"], told["name"]) == (text, "info", task_id, "log_by_context")
