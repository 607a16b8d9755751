"""The list of behaviours, against the executors that need nothing but this machine."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor

import pytest

from tests.executors.behaviours import BEHAVIOURS, KINDS, run
from tests.executors.listing import LOCAL, PROCESSES, THREADS, Kind


@pytest.fixture(scope="module", params=[THREADS, PROCESSES, LOCAL])
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture(scope="module")
def executor(kind: Kind) -> Iterator[Executor]:
    with kind() as made:
        yield made


@pytest.mark.parametrize("behaviour", BEHAVIOURS)
def test_behaves_as_executors_do(behaviour: str, kind: Kind, executor: Executor) -> None:
    run(behaviour, kind, executor)
