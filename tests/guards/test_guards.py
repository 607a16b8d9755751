"""docs/security.md says true: each of its guards is there, and a test fails without it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.guards.listing import GUARDS, Guard
from tests.guards.removal import ROOT, see_fail_without

LINES = re.findall(r"^\| ([^|]+) \| [^|]+ \| `(tests/[^`|]+)` \|$", (ROOT / "docs/security.md").read_text(), re.MULTILINE)
FIRST = GUARDS[:3]
"""They show that it works; all of them take minutes: ``make guards``."""


@pytest.fixture(scope="module")
def removal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Guard], str]]:
    """What came of taking out a guard; two at a time, since each is mostly a program that starts."""
    with ThreadPoolExecutor(2) as pool:
        runs = {guard: pool.submit(see_fail_without, guard, tmp_path_factory.mktemp("without") / "copy") for guard in FIRST}
        yield lambda guard: runs[guard].result()
        pool.shutdown(cancel_futures=True)


def test_the_page_tells_of_each_guard_with_its_test() -> None:
    assert [(guard.what, guard.tests) for guard in GUARDS] == LINES


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.what)
def test_a_guard_stands_where_it_is_said_to(guard: Guard) -> None:
    assert (ROOT / guard.file).read_text().count(guard.code) == 1


@pytest.mark.parametrize("guard", FIRST, ids=lambda guard: guard.what)
def test_a_test_fails_when_a_guard_is_taken_out(guard: Guard, removal: Callable[[Guard], str]) -> None:
    assert "1 failed" in removal(guard)
