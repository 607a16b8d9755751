"""docs/executor.md names every difference between executors that the list of behaviours declares, and no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.executors.behaviours import BEHAVIOURS, DIFFERENCES
from tests.executors.listing import OURS, STANDARD, Difference

PAGE = (Path(__file__).parents[2] / "docs/executor.md").read_text()


def in_words(name: str) -> str:
    return name.replace("_", " ")


def row(one: Difference) -> str:
    which = [", ".join(kind for kind in one.kinds)] if set(one.kinds) <= set(STANDARD) else []
    return f"| {' | '.join([in_words(one.of), *which, in_words(one.holds.__name__), one.reason])} |"


def test_the_page_has_one_row_for_each_difference() -> None:
    told = [line for line in PAGE.splitlines() if re.match(r"\| (?!an Executor)\w", line)]
    assert sorted(told) == sorted(map(row, DIFFERENCES))


@pytest.mark.parametrize("one", DIFFERENCES, ids=lambda one: one.holds.__name__)
def test_a_difference_is_one_of_taskyards_two_executors_or_of_the_standard_library(one: Difference) -> None:
    assert one.of in BEHAVIOURS
    assert one.kinds == OURS or set(one.kinds) <= set(STANDARD)
