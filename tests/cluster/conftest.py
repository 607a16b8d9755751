"""The cluster that most tests share, brought up and taken down by pytest-docker, and projects for those that need their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pytest_docker.plugin import Services

from tests.cluster.project import DRIVER, ENVIRONMENT, SHIPPED, Asker, Project

WORKERS = 5


@pytest.fixture(scope="session", autouse=True)
def environment() -> Iterator[None]:
    """For pytest-docker, which runs Compose in this process's environment."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def docker_compose_file() -> list[str]:
    return [str(SHIPPED), str(DRIVER)]


@pytest.fixture(scope="session")
def docker_compose_project_name() -> str:
    return "taskyard-test"


@pytest.fixture(scope="session")
def docker_setup(environment: None) -> list[str]:
    # What an interrupted run has left goes first.
    return ["--profile tools down --volumes --remove-orphans", "build --quiet", f"up --detach --wait --scale worker={WORKERS}"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["--profile tools down --volumes --remove-orphans"]


@pytest.fixture(scope="session")
def built(docker_services: Services) -> None:
    """The images are those of this source."""


@pytest.fixture(scope="session")
def shared_cluster(docker_services: Services, docker_compose_project_name: str) -> Project:
    return Project(docker_compose_project_name, [SHIPPED, DRIVER])


@pytest.fixture
def cluster(shared_cluster: Project) -> Project:
    """The shared cluster with five workers that are idle and well, whatever the test before has done to it."""
    shared_cluster.scale(WORKERS)
    return shared_cluster


@pytest.fixture
def asker(cluster: Project) -> Iterator[Asker]:
    asking = Asker(cluster)
    yield asking
    asking.close()


@pytest.fixture
def project(built: None, tmp_path: Path) -> Iterator[Callable[..., Project]]:
    """Makes the test's own project from ``compose.yaml`` and, if need be, lines laid over it."""
    made: list[Project] = []

    def make(name: str, laid_over: str = "", driver: bool = False, **settings: str) -> Project:
        files = [SHIPPED, *([DRIVER] if driver else [])]
        if laid_over:
            (tmp_path / "over.yaml").write_text(laid_over)
            files.append(tmp_path / "over.yaml")
        made.append(Project(f"taskyard-test-{name}", files, **settings))
        made[-1].down()
        return made[-1]

    yield make
    for one in made:
        one.down()
