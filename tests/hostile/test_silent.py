"""Thousands that connect and say nothing: they cost honest clients little, and keep no newcomer out."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from subprocess import PIPE

import pytest

from tests.contract.master_process import MasterProcess
from tests.hostile.attacker import Attacker
from tests.hostile.honest import PATIENCE, Honest, descriptors_of, memory_of, wait_until_all_left
from tests.hostile.toll import SHARE, Toll
from tests.measured import tell

STRANGERS = 5000
CROWDS = 5
"""Processes that they are in: many systems allow each no more than 4,096 descriptors."""
KNOCKS = 100
"""Of the strangers together in a second, once each has knocked: more would be a question of who has more processors."""
LATENCY = 0.3
TRIES = 5
"""Times that the share is measured at most: other programs of this machine disturb too, if not for long."""


@contextmanager
def crowd(master: MasterProcess) -> Iterator[int]:
    """Strangers, in processes of their own, once each has knocked; how many they are."""
    command = [sys.executable, str(Path(__file__).with_name("crowd.py"))]
    command += map(str, (master.port, STRANGERS // CROWDS, KNOCKS // CROWDS))
    with ExitStack() as opened:
        crowds = [opened.enter_context(subprocess.Popen(command, stdin=PIPE, stdout=PIPE)) for _ in range(CROWDS)]
        many = [int(one.stdout.readline()) for one in crowds if one.stdout is not None]
        yield sum(many)
        for one in crowds:
            one.communicate()


def seconds_to_join(master: MasterProcess) -> float:
    started = time.monotonic()
    with master.queue(60.0) as newcomer:
        newcomer.connect()
        return time.monotonic() - started


@pytest.mark.alone
def test_thousands_of_silent_strangers_keep_no_newcomer_out_and_hardly_slow_who_is_there(
    master: MasterProcess, honest: Honest
) -> None:
    with Toll(master) as toll:
        toll.pause(1.0)  # then it is warm
        before, descriptors = memory_of(master), descriptors_of(master)
        for _ in range(TRIES):
            toll.pause(2.0)
            with crowd(master) as many:
                joins = [seconds_to_join(master)]
                with toll.attack(3.0):
                    during = memory_of(master)
                joins += [seconds_to_join(master) for _ in range(20)]
                with Attacker(master, latency=LATENCY) as far_away:
                    far_away.prove()
                honest.check()
            wait_until_all_left(master, descriptors)
            if toll.share >= SHARE:
                break
        after = memory_of(master)
    tell(
        f"{many:,} silent strangers, {KNOCKS} new ones a second: {toll.told()}, which has {before:.0f} MiB before,"
        f" {during:.0f} during, {after:.0f} after; a newcomer joins in {joins[0]:.3f} s in the rush, in {max(joins[1:]):.3f} s"
        f" at most later; one with {LATENCY:g} s latency joins too"
    )
    assert joins[0] < 5
    assert max(joins[1:]) < PATIENCE
    assert toll.share >= SHARE
    assert during - before < 100
    assert after - before < 8
