"""Hypothesis attacks the port before, in and after the handshake; meanwhile an honest client is served as ever.

`make test` does it for half a minute, `make fuzz MINUTES=10` for as long as you like. The first seed is ``FUZZ_SEED``.
"""

from __future__ import annotations

import os
import pickle
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.contract.master_process import MasterProcess
from tests.hostile.attacker import CHALLENGE, WELCOME, Attacker, framed
from tests.hostile.attacks import Edit, edited, edits, framed_answers, garbage, messages
from tests.hostile.honest import Honest, descriptors_of, memory_of, tidy, wait_until_all_left
from tests.hostile.toll import SHARE, Toll
from tests.measured import tell

SECONDS = 60 * float(os.environ.get("FUZZ_MINUTES", "0.4")) / 3
"""For each of the three kinds of attack."""
FIRST_SEED = int(os.environ.get("FUZZ_SEED", "0"))
RATE = 40
"""Attacks in a second. Each costs the master a millisecond, and the attacker more: with two cores for everything, a hundred leave
an honest client 78 %."""
ATTACK_SECONDS, PAUSE_SECONDS = 3.0, 1.0
LISTEN_SECONDS = 0.05
"""For an answer, which need not come: it may have asked for something that there is not yet."""
TIMES = 3
"""It goes on for so many times as long if the honest client seems to be slowed: other programs disturb it too."""
SETTINGS = settings(
    max_examples=100,
    deadline=None,
    database=None,
    phases=[Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)
GROWTH = 8
"""MiB that the master may have more when all have left than it had once it was warm."""
endings = st.sampled_from(["close", "reset", "finish"])
"""Finish: all was said, but who said it still listens."""


def end(attacker: Attacker, how: str) -> bytes:
    """End a connection; returns what the master said to it, if it was to the end."""
    if how != "finish":
        attacker.close(reset=how == "reset")
        return b""
    with suppress(OSError):  # it may have been hung up on
        attacker.sock.shutdown(socket.SHUT_WR)
    said = b""
    with suppress(ConnectionError), attacker:
        while data := attacker.sock.recv(65536):
            said += data
    return said


class Attack:
    """Examples of one kind, of one seed after the other."""

    def __init__(self, do: Callable[[Any], None], examples: st.SearchStrategy[Any]) -> None:
        self._do = do
        self._examples = examples
        self.count = 0
        self.seed = FIRST_SEED
        self._next = time.monotonic()

    def go_on(self) -> None:
        """Those of the next seed."""

        def attack(example: Any) -> None:
            self.count += 1
            time.sleep(max(0.0, self._next - time.monotonic()))
            self._next = time.monotonic() + 1 / RATE
            self._do(example)

        try:
            seed(self.seed)(SETTINGS(given(self._examples)(attack)))()
        except BaseException as error:
            error.add_note(f"FUZZ_SEED={self.seed}")
            raise
        self.seed += 1


def fuzz(master: MasterProcess, honest: Honest, name: str, attack: Attack) -> None:
    """Attack, with pauses in which the honest client is undisturbed, and measure."""
    descriptors = descriptors_of(master)
    with Toll(master) as toll:
        attack.go_on()
        tidy(master)
        before = memory_of(master)
        started, attack.count = time.monotonic(), 0
        while (passed := time.monotonic() - started) < SECONDS or (toll.share < SHARE and passed < TIMES * SECONDS):
            with toll.attack():
                begin = time.monotonic()
                while time.monotonic() - begin < ATTACK_SECONDS:
                    attack.go_on()
            honest.check()
            tidy(master)
            toll.pause(PAUSE_SECONDS)
    wait_until_all_left(master, descriptors)
    after = memory_of(master)
    tell(
        f"fuzzed {name}: {attack.count:,} attacks in {passed:.0f} s, seeds {FIRST_SEED} to {attack.seed - 1}; {toll.told()},"
        f" which has {before:.0f} MiB before, {after:.0f} after"
    )
    assert toll.share >= SHARE
    assert after - before < GROWTH


def test_strangers_may_say_what_they_like(master: MasterProcess, honest: Honest) -> None:
    def do(example: tuple[list[bytes], str]) -> None:
        said, how = example
        attacker = Attacker(master)
        for data in said:
            attacker.send(data)
        assert WELCOME not in end(attacker, how)

    fuzz(master, honest, "before the handshake", Attack(do, st.tuples(st.lists(garbage, max_size=4), endings)))


def test_a_handshake_may_be_replayed_cut_off_or_go_wrong_in_any_way(master: MasterProcess, honest: Honest) -> None:
    opening = framed(pickle.dumps((None, "accept_connection", ("attacker",), {})))
    own = [framed(CHALLENGE + bytes(20)), framed(WELCOME), opening]
    with Attacker(master) as attacker:
        overheard = [framed(attacker.response()), *own]
        attacker.send(b"".join(overheard))
        assert attacker.read() == WELCOME

    def do(example: tuple[bool, int, list[Edit], bytes, str]) -> None:
        has_key, step, changes, more, how = example
        attacker = Attacker(master)
        right = [framed(attacker.response()), *own] if has_key else overheard
        attacker.send(b"".join(right[:step]) + edited(right[step], changes) + more)
        said = end(attacker, how)
        assert has_key or WELCOME not in said

    examples = st.tuples(st.booleans(), st.integers(0, len(own)), edits, st.one_of(st.just(b""), framed_answers), endings)
    fuzz(master, honest, "in the handshake", Attack(do, examples))


def test_who_holds_the_key_may_ask_for_anything(master: MasterProcess, honest: Honest) -> None:
    def do(example: tuple[list[bytes], int, bool, str]) -> None:
        said, pieces, listens, how = example
        attacker = Attacker(master).prove()
        for data in said:
            attacker.send(data, pieces)
            if listens:
                attacker.is_answered(LISTEN_SECONDS)
        end(attacker, how)

    examples = st.tuples(st.lists(messages(), min_size=1, max_size=4), st.integers(1, 3), st.booleans(), endings)
    fuzz(master, honest, "with the key", Attack(do, examples))
