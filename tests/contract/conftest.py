"""The two ways to a queue that the contract's tests take."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.contract.keyed_master import KeyedMaster
from tests.contract.master_process import MasterProcess
from tests.harness import KINDS, Harness, Kind


@pytest.fixture(autouse=True)
def no_excuse_for_a_busy_machine() -> Iterator[None]:
    """A queue of this process that gets no processor for seconds is no queue that stood still: leases of the tests, whose clock
    is not the machine's, would be excused."""
    with pytest.MonkeyPatch.context() as patch:  # not the test's own, which is to end first
        patch.setattr("master.committer.DEAF_SECONDS", 20.0)
        yield


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> Kind:
    chosen: Kind = request.param
    return chosen


@pytest.fixture
def make(kind: Kind, tmp_path: Path) -> Iterator[Callable[..., Harness]]:
    """Makes the test's one queue, with options of its own."""
    made: list[Harness] = []

    def make_one(**options: Any) -> Harness:
        made.append(Harness(tmp_path, kind, **options))
        return made[-1]

    yield make_one
    for harness in made:
        harness.end()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Harness]:
    """A queue behind a real manager, for what belongs to the port."""
    harness = Harness(tmp_path, "manager")
    yield harness
    harness.end()


@pytest.fixture
def harness(make: Callable[..., Harness]) -> Harness:
    return make()


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MasterProcess]:
    """A real master, shared by the tests of a file."""
    with MasterProcess(tmp_path_factory.mktemp("master")) as process:
        yield process


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[KeyedMaster]:
    made = KeyedMaster(tmp_path / "master")
    made.start()
    yield made
    made.close()
