"""What an attack costs an honest client, which goes round and round in a process of its own (`tests.hostile.rounds`)."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Self

import psutil

from tests.contract.master_process import AUTHKEY, ROOT, MasterProcess

SHARE = 0.8
"""Of what the client has undisturbed it keeps this, at least."""


class Part:
    """What was seen in some of the time."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.processor = 0.0
        """Seconds of a processor that the master took."""
        self.rates: list[float] = []
        """Rounds a second, window after window."""

    @property
    def rate(self) -> float:
        """Rounds a second below which nine in ten windows are: other programs disturb now and then, an attack all the time."""
        return statistics.quantiles(self.rates, n=10)[-1]

    @property
    def rounds(self) -> float:
        """How many there were."""
        return statistics.mean(self.rates) * self.seconds


class Toll:
    """Measured by turns: attacked and undisturbed."""

    def __init__(self, master: MasterProcess) -> None:
        assert master.process is not None
        self._master = psutil.Process(master.process.pid)
        command = [sys.executable, "-m", "tests.hostile.rounds", master.url, AUTHKEY.decode()]
        self._client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self.attacked, self.undisturbed = Part(), Part()

    @contextmanager
    def attack(self, seconds: float = 0.0) -> Iterator[None]:
        """Measure while there is an attack, for these seconds at least."""
        with self._noted(self.attacked, seconds):
            yield

    def pause(self, seconds: float) -> None:
        """Measure without."""
        with self._noted(self.undisturbed, seconds):
            pass

    @property
    def throughput(self) -> float:
        """Share of the undisturbed throughput."""
        return self.attacked.rate / self.undisturbed.rate

    @property
    def taken(self) -> float:
        """Share of one processor that the master spends on the attack."""
        round_ = self.undisturbed.processor / self.undisturbed.rounds
        return (self.attacked.processor - round_ * self.attacked.rounds) / self.attacked.seconds

    @property
    def share(self) -> float:
        """What the client keeps. Where other programs fight for the processors, the throughput tells of them; then what the
        master spends on the attack, and can't on the client, tells of it alone."""
        return max(self.throughput, 1 - self.taken) if self.attacked.rates[1:] and self.undisturbed.rates[1:] else 0.0

    def told(self) -> str:
        """In words."""
        return (
            f"{self.attacked.rate:.0f} honest rounds a second, {self.throughput:.0%} of undisturbed;"
            f" the master spends {max(0.0, self.taken):.0%} of a processor on it"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.terminate()
        self._client.communicate()

    def _processor(self) -> float:
        times = self._master.cpu_times()
        return float(times.user + times.system)

    @contextmanager
    def _noted(self, part: Part, seconds: float) -> Iterator[None]:
        begin, before = time.monotonic(), self._processor()
        yield
        part.rates += self._between(begin, max(time.monotonic(), begin + seconds))
        part.seconds += time.monotonic() - begin
        part.processor += self._processor() - before

    def _between(self, begin: float, end: float) -> list[float]:
        """Of the windows between two moments, of which the last may be still to come."""
        assert self._client.stdout is not None
        rates: list[float] = []
        for line in self._client.stdout:
            began, ended, rate = map(float, line.split())
            if ended > end:
                return rates
            if began >= begin:
                rates.append(rate)
        raise AssertionError("the honest client has failed")
