"""One machine for all tests here: what they do to it is one history, in the order of the file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.clone import make_clone
from tests.cluster.project import ROOT
from tests.deploy.machine import IMAGE, Machine, build_image, run

SLOW = '''

@task
def slow(seconds: float) -> str:
    """Take its time."""
    import time

    time.sleep(seconds)
    return f"I have slept {seconds} s"
'''


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with one commit: this source as it stands, and a slow task."""
    folder = tmp_path_factory.mktemp("source")
    make_clone(folder)
    with (folder / "app/tasks.py").open("a") as file:
        file.write(SLOW)
    run("git", "init", "--quiet", cwd=folder)
    commit(folder, "As it stands")
    return folder


def commit(folder: Path, message: str) -> str:
    """All that has changed in a repository; returns the version that it is deployed as."""
    run("git", "add", "--all", cwd=folder)
    author = ("-c", "user.name=Tests", "-c", "user.email=tests@example.org")
    run("git", *author, "commit", "--quiet", "--message", message, cwd=folder)
    return run("git", "rev-parse", "--short=7", "HEAD", cwd=folder).strip()


def chosen(setting: str, default: str) -> str:
    """Which image this clone starts from."""
    found = re.search(rf"^{setting}=(.+)$", (ROOT / ".env").read_text() if (ROOT / ".env").exists() else "", re.MULTILINE)
    return found[1] if found else default


@pytest.fixture(scope="session")
def image() -> Iterator[str]:
    """Builds the one of all machines; gives the one of Python beneath it."""
    base = chosen("PYTHON_IMAGE", "python:3.13-slim")
    build_image(base)
    yield base
    run("docker", "image", "rm", IMAGE, check=False)


@pytest.fixture(scope="session")
def machine(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine("taskyard-test-vm", tmp_path_factory.mktemp("vm")) as started:
        yield started
