"""A browser, and a cluster with a dashboard for it to look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from taskyard.local import LocalCluster
from tests.dashboard_page.running import Dashboard, browsing, cluster, signed_in
from tests.harness import AUTHKEY, Harness


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as made:
        yield made


@pytest.fixture(scope="module")
def calls() -> Iterator[LocalCluster]:
    """A running cluster."""
    with cluster() as made:
        yield made


@pytest.fixture(scope="module")
def dashboard(calls: LocalCluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    """The dashboard of that cluster."""
    made = Dashboard(calls._processes.url, calls._processes.authkey, tmp_path_factory.mktemp("dashboard") / "data")
    yield made
    made.close()


@pytest.fixture
def page(browser: Browser, dashboard: Dashboard) -> Iterator[Page]:
    """Somebody who has signed in with the full token; whatever goes wrong in the browser fails the test."""
    faults: list[str] = []
    made = signed_in(browser, dashboard, faults=faults)
    yield made
    made.context.close()
    assert faults == []


@pytest.fixture
def harness(tmp_path: Path) -> Iterator[Harness]:
    """A master without workers; its clock stands still."""
    made = Harness(tmp_path / "master", "manager")
    yield made
    made.end()


@pytest.fixture
def quiet(harness: Harness, tmp_path: Path) -> Iterator[Dashboard]:
    """The dashboard of a master to which nobody has come yet."""
    made = Dashboard(harness.queue.url, AUTHKEY, tmp_path / "dashboard")
    yield made
    made.close()
