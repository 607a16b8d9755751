"""Ends: of a with block, by shutdown, by being dropped, of the program; and forked children."""

from __future__ import annotations

import gc
import threading

from tests.executors.functions import add, give_back, pause
from tests.executors.listing import OURS, PROCESSES, THREADS, Kind, behaviour, fill, instead, raises, until, values

AFTER_SHUTDOWN = "cannot schedule new futures after shutdown"


@behaviour
def the_with_block_waits_for_all_calls(kind: Kind) -> None:
    with kind() as executor:
        futures = [executor.submit(pause, 0.1, n) for n in range(3 * kind.workers)]
    assert all(future.done() for future in futures)
    assert values(futures) == list(range(3 * kind.workers))


@behaviour
def the_with_block_waits_also_when_its_body_raises(kind: Kind) -> None:
    with raises(LookupError, "of the body"), kind() as executor:
        futures = [executor.submit(pause, 0.1, n) for n in range(3 * kind.workers)]
        raise LookupError("of the body")
    assert all(future.done() for future in futures)
    assert values(futures) == list(range(3 * kind.workers))


CTRL_C = """
import time
ended = []
try:
    with executor:
        futures = [executor.submit(pause, {seconds}) for _ in range(2)]
        for future in futures:
            future.add_done_callback(ended.append)
        while not (futures[0].running() or futures[0].done()):
            time.sleep(0.01)
        raise KeyboardInterrupt
except KeyboardInterrupt:
    print(*(type(future.exception()).__name__ for future in ended))
"""


@behaviour
def ctrl_c_in_the_with_block_waits_for_all_calls(kind: Kind) -> None:
    kind.script(CTRL_C.format(seconds=0.5), "NoneType NoneType")


@instead(
    ctrl_c_in_the_with_block_waits_for_all_calls,
    *OURS,
    because="calls may take hours, and who presses Ctrl-C wants the prompt; of a cluster that goes on they stay in the queue",
)
def ctrl_c_in_the_with_block_leaves_the_calls(kind: Kind) -> None:
    kind.script(CTRL_C.format(seconds=3), "Detached Detached")


@behaviour
def shutdown_refuses_further_calls_and_may_be_called_twice(kind: Kind) -> None:
    executor = kind()
    future = executor.submit(add, 1, 2)
    executor.shutdown()
    for _ in range(2):
        with raises(RuntimeError, AFTER_SHUTDOWN):
            executor.submit(add, 1, 2)
        with raises(RuntimeError, AFTER_SHUTDOWN):
            executor.map(give_back, [1])
        executor.shutdown()
    assert future.result(0) == 3


@behaviour
def shutdown_of_an_executor_that_was_never_used_returns(kind: Kind) -> None:
    kind().shutdown()
    executor = kind()
    executor.shutdown(wait=False)
    with raises(RuntimeError, AFTER_SHUTDOWN):
        executor.submit(add, 1, 2)


@behaviour
def shutdown_without_waiting_returns_at_once_and_the_calls_still_end(kind: Kind) -> None:
    executor = kind()
    futures = fill(executor, kind)
    executor.shutdown(wait=False)
    assert not futures[-1].done()
    with raises(RuntimeError, AFTER_SHUTDOWN):
        executor.submit(add, 1, 2)
    assert values(futures) == list(range(len(futures)))
    executor.shutdown()


@behaviour
def shutdown_can_cancel_what_waits_and_lets_end_what_runs(kind: Kind) -> None:
    executor = kind()
    futures = fill(executor, kind, 1.0)
    executor.shutdown(cancel_futures=True)
    assert all(future.done() for future in futures)
    cancelled = [future.cancelled() for future in futures]
    assert cancelled == sorted(cancelled), "those that came first ran"
    assert (cancelled[0], cancelled[-1]) == (False, True)
    assert [future.result(0) for future in futures if not future.cancelled()] == list(range(cancelled.count(False)))


@behaviour
def an_executor_that_is_dropped_ends_its_calls_and_leaves_no_thread(kind: Kind) -> None:
    before = set(threading.enumerate())
    executor = kind()
    futures = [executor.submit(pause, 0.1, n) for n in range(3)]
    del executor
    gc.collect()
    assert values(futures) == [0, 1, 2]
    until(lambda: set(threading.enumerate()) <= before, "its threads have ended")


@behaviour
def a_program_that_just_ends_has_all_results_and_callbacks(kind: Kind) -> None:
    text = """
for n in range(10):
    executor.submit(pause, 0.1, n).add_done_callback(lambda future: print(f"{future.result()}\\n", end="", flush=True))
"""
    kind.script(text, *map(str, range(10)), in_order=False)


@behaviour
def a_program_that_makes_no_call_just_ends(kind: Kind) -> None:
    kind.script("print('made')", "made")
    kind.script("print('made'); executor.shutdown(wait=False); del executor", "made")


@behaviour
def calls_are_refused_once_the_program_ends(kind: Kind) -> None:
    text = """
import atexit
def late():
    try:
        print(executor.submit(add, 1, 2))
    except RuntimeError as error:
        print(str(error).replace("interpreter ", ""))
atexit.register(late)
print(executor.submit(add, 1, 2).result(30))
"""
    kind.script(text, "3", AFTER_SHUTDOWN)


# Forked children

FORK = """
import os, sys
from concurrent.futures import TimeoutError
running = [executor.submit(pause, 0.5, n) for n in range(2)]
child = os.fork()
if child == 0:
    {in_child}
    print("the child ends", flush=True)
    {end}
print("exit code", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
print([future.result(30) for future in running], executor.submit(add, 1, 2).result(30))
"""
FORKED = ("the child ends", "exit code 0", "[0, 1] 3")


@behaviour
def a_forked_child_ends_and_its_parent_goes_on(kind: Kind) -> None:
    kind.script(FORK.format(in_child="pass", end="sys.exit()"), *FORKED)
    kind.script(FORK.format(in_child="del executor, running", end="sys.exit()"), *FORKED)


@behaviour
def a_forked_child_can_make_calls(kind: Kind) -> None:
    calls = "print(executor.submit(pow, 2, 5).result(30), *executor.map(pow, (2, 3), (4, 4)), flush=True)"
    kind.script(FORK.format(in_child=calls, end="sys.exit()"), "32 16 81", *FORKED)


@instead(a_forked_child_can_make_calls, THREADS, because="its threads have stayed with the parent")
def a_call_of_a_forked_child_is_not_run(kind: Kind) -> None:
    calls = """try: executor.submit(pow, 2, 5).result(1)
    except TimeoutError: print("not run", flush=True)"""
    kind.script(FORK.format(in_child=calls, end="sys.exit()"), "not run", *FORKED)


OWNED = "the child has copies of its parent's pipes and of its list of processes, and the two disturb each other"


@instead(a_forked_child_ends_and_its_parent_goes_on, PROCESSES, because=OWNED)
@instead(a_forked_child_can_make_calls, PROCESSES, because=OWNED)
def a_forked_child_has_to_leave_the_pool_alone(kind: Kind) -> None:
    kind.script(FORK.format(in_child="pass", end="os._exit(0)"), *FORKED)
