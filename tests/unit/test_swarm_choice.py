"""Replicas are lowered only by so many that Swarm takes no worker that runs, whatever it takes first."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskyard.scaling.places import STABLE, has_ended, removable

Slot = list[dict[str, Any]]
STATES = ("running", "running", "starting", "failed", "complete", "complete")


def slot(node: str, state: str) -> Slot:
    desired = "shutdown" if state == "complete" else "running"
    return [{"NodeID": node, "DesiredState": desired, "Status": {"State": state}}]


def left_by_swarm(slots: list[Slot], replicas: int, random: Random) -> list[Slot]:
    """What Swarm leaves of a service, as its replicated orchestrator does it."""
    order = sorted(random.sample(slots, len(slots)), key=lambda one: one[0]["Status"]["State"] != "running")
    numbers: Counter[str] = Counter()
    numbered = []
    for one in order:
        numbers[one[0]["NodeID"]] += 1
        numbered.append((numbers[one[0]["NodeID"]], one))
    if len(slots) > STABLE:
        random.shuffle(numbered)
    return [one for _, one in sorted(numbered, key=lambda pair: pair[0])[:replicas]]


def slots_of(**nodes: str) -> list[Slot]:
    """By node, a letter for each: r runs, s is starting, e has ended."""
    states = {"r": "running", "s": "starting", "e": "complete"}
    return [slot(node, states[letter]) for node, letters in nodes.items() for letter in letters]


@given(
    st.lists(st.builds(slot, st.sampled_from("abcd"), st.sampled_from(STATES)), max_size=20), st.randoms(use_true_random=False)
)
def test_swarm_leaves_what_has_not_ended(slots: list[Slot], random: Random) -> None:
    left = left_by_swarm(slots, len(slots) - removable(slots, len(slots)), random)
    assert [one for one in slots if not has_ended(one) and one not in left] == []
    assert len([one for one in left if not has_ended(one)]) == len([one for one in slots if not has_ended(one)])


@pytest.mark.parametrize(
    ("slots", "many"),
    [
        (slots_of(a="re", b="ee", c="ee"), 5),
        (slots_of(a="rr", b="ee", c="ee"), 2),
        (slots_of(a="rr", b="re", c="re"), 2),
        (slots_of(a="rr", b="e", c="e"), 0),
        (slots_of(a="ee", b="e"), 3),
        (slots_of(a="rs", b="ee"), 0),
        (slots_of(a="r", b="s", c="eee"), 2),
        (slots_of(a="r" * 9, b="e" * 9), 0),
        (slots_of(a="r" * 9, b="e" * 10), 1),
        ([], 0),
    ],
)
def test_as_many_go_as_swarm_would_take_of_those_that_have_ended(slots: list[Slot], many: int) -> None:
    assert removable(slots, len(slots)) == many


def test_none_goes_while_swarm_is_busy_with_what_it_was_asked_before() -> None:
    slots = slots_of(a="re", b="ee")
    assert removable(slots, 4) == 3
    assert removable(slots, 3) == removable(slots, 5) == 0
    nowhere = slot("", "pending")
    assert removable([*slots, nowhere], 5) == 0
    two = [*slot("a", "running"), *slot("b", "starting")]
    assert removable([*slots, two], 5) == 0
    again = [*slot("a", "complete"), *slot("a", "running")]
    assert removable([*slots[1:], again], 4) == 3, "what is past does not count"
