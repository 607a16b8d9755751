"""The rig is made once for all tests here; each deploys its own stack."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.swarm.rig import Rig


@pytest.fixture(scope="session")
def rig() -> Iterator[Rig]:
    with Rig() as made:
        yield made
