"""The rig is made once for all tests here; each deploys its own stack from a clone with tasks of the tests in it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.clone import make_clone
from tests.swarm.rig import Rig

TASKS = '''

@task
def square_at(n: int, seconds: float) -> tuple[int, str]:
    """Some work, then the answer and who has it."""
    import os
    import time

    time.sleep(seconds)
    return n * n, os.environ["TASKYARD_NODE"]
'''


@pytest.fixture(scope="session")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clone")
    make_clone(folder)
    own = Path(".env").read_text() if Path(".env").exists() else ""
    (folder / ".env").write_text(f"{own}WORKERS=2\nWORKER_MEMORY='200M' # for each\n")
    with (folder / "app/tasks.py").open("a") as file:
        file.write(TASKS)
    return folder


@pytest.fixture(scope="session")
def made_rig(clone: Path) -> Iterator[Rig]:
    with Rig(clone) as made:
        yield made


@pytest.fixture
def rig(made_rig: Rig) -> Iterator[Rig]:
    """Without a stack before and after."""
    yield made_rig
    made_rig.remove()
