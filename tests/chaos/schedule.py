"""From a seed to a plan of blows. Nothing but the seed and the length of the run decides it, so that it can be replayed."""

from __future__ import annotations

from random import Random
from typing import Literal, NamedTuple, get_args

Lane = Literal["workers", "master"]
Kind = Literal[
    "kill slots",
    "stop slots",
    "kill supervisors",
    "stop supervisors",
    "kill workers",
    "pause workers",
    "unplug workers",
    "deafen workers",
    "mute workers",
    "unplug client",
    "scale workers",
    "step workers' clock",
    "kill master",
    "kill master in commits",
    "stop master",
    "kill master's container",
    "pause master",
    "unplug master",
    "deafen master",
    "mute master",
    "fill disk",
    "slow disk",
    "step master's clock",
]
KINDS: tuple[Kind, ...] = get_args(Kind)
LANES: dict[Lane, tuple[Kind, ...]] = {"workers": KINDS[:12], "master": KINDS[12:]}
"""Blows of one lane come one after the other, those of different lanes at the same time."""
DECK_SECONDS = (75.0, 110.0)
"""A round of all kinds takes about so long: in a short run; in a long one, where some blows outlast a lease."""
SHORT_RUN = 300.0


class Blow(NamedTuple):
    """What befalls the cluster ``at`` seconds from the start and, where it is a state, lasts for ``seconds``.

    ``seed`` decides the rest: which containers, how many, which way.
    """

    at: float
    lane: Lane
    kind: Kind
    seconds: float
    seed: int


def plan(seed: int, seconds: float) -> list[Blow]:
    """All blows of a run of so many seconds, by the time at which they are due; each kind at least once."""
    blows = [blow for lane, kinds in LANES.items() for blow in _deal(Random(f"{seed} {lane}"), lane, kinds, seconds)]
    return sorted(blows)


def _deal(random: Random, lane: Lane, kinds: tuple[Kind, ...], seconds: float) -> list[Blow]:
    decks = max(1, round(seconds / DECK_SECONDS[seconds >= SHORT_RUN]))
    blows = []
    for deck in range(decks):
        at = deck * seconds / decks
        # Shares of the deck's time: mostly short ones, and a few long ones.
        shares = [0.1 + random.expovariate(1.0) ** 1.5 for _ in kinds]
        for kind, share in zip(random.sample(kinds, len(kinds)), shares, strict=True):
            room = share / sum(shares) * seconds / decks
            calm = room * random.uniform(0.2, 0.6)
            blows.append(Blow(at + calm, lane, kind, room - calm, random.getrandbits(32)))
            at += room
    return blows


def lines(blows: list[Blow]) -> list[str]:
    """The plan for people."""
    return [f"{blow.at:8.1f} s  {blow.kind}, {blow.seconds:.1f} s" for blow in blows]
