"""Nothing gets slower by the way: what each part takes for ten thousand tasks is counted and held to what was recorded."""

from __future__ import annotations

import sys

import pytest

from tests.speed.counting import MORE, PYTHON, Counts, count_calls, count_instructions, has_valgrind, recorded
from tests.speed.work import PARTS

NO_RECORD = "not recorded for this interpreter: python -m tests.speed.counting --record"


def held(now: Counts, before: Counts) -> None:
    grown = {what: (before[what], many) for what, many in now.items() if many > before[what] * (1 + MORE)}
    assert not grown, f"grown by more than {MORE:.0%} (recorded, now); if it must be: python -m tests.speed.counting --record"


@pytest.mark.skipif(PYTHON not in recorded(), reason=NO_RECORD)
@pytest.mark.parametrize("part", PARTS)
def test_no_part_makes_more_calls_pickles_statements_or_commits_than_it_did(part: str) -> None:
    held(count_calls(part), recorded()[PYTHON][part])


@pytest.mark.skipif(not has_valgrind(), reason="instructions are counted by valgrind, which is not installed")
@pytest.mark.skipif(sys.version not in recorded(), reason=NO_RECORD)
@pytest.mark.parametrize("part", PARTS)
def test_no_part_takes_more_instructions_than_it_did(part: str) -> None:
    held({"instructions": count_instructions(part)}, recorded()[sys.version][part])


def test_a_part_that_grows_by_more_than_a_tenth_is_told_of() -> None:
    held({"calls": 110, "sql": 0}, {"calls": 100, "sql": 0})
    for worse in ({"calls": 111, "sql": 0}, {"calls": 100, "sql": 1}):
        with pytest.raises(AssertionError, match="grown by more than 10%"):
            held(worse, {"calls": 100, "sql": 0})
