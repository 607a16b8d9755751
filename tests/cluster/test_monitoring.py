"""Prometheus beside the cluster, as `deploy/monitoring` has it: it reads the metrics, knows the alerts, and draws the plots."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import httpx
import pytest

from tests.cluster.project import Project
from tests.harness import wait_until
from tests.monitoring.image import MONITORING, prometheus_image
from tests.monitoring.test_alerts import NAMES

PLOTS: list[dict[str, Any]] = json.loads((MONITORING / "grafana.json").read_text())["panels"]
SLOWLY_KNOWN = 120.0
"""Seconds within which two scrapes, 15 s apart, have brought everything."""


@pytest.fixture(scope="module")
def image() -> str:
    return prometheus_image()


@pytest.fixture
def prometheus(project: Callable[..., Project], image: str) -> Iterator[httpx.Client]:
    """Of a cluster that has done its job twice."""
    laid_over = (MONITORING / "compose.yaml").read_text()
    cluster = project("monitoring", laid_over, PROMETHEUS_IMAGE=image, PROMETHEUS_PORT="0")
    cluster.compose("up", "--detach", "--wait", "--scale", "worker=2")
    with httpx.Client(base_url=f"http://{cluster.compose('port', 'prometheus', '9090').strip()}", timeout=30) as client:
        wait_until(lambda: ask(client, 'up{job="taskyard"} == 1'), "it has been scraped", SLOWLY_KNOWN)
        cluster.compose("run", "--rm", "-T", "--no-deps", "job")
        yield client


def ask(client: httpx.Client, expression: str) -> list[dict[str, Any]]:
    response = client.get("/api/v1/query", params={"query": expression})
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()["data"]["result"]
    return found


def test_prometheus_reads_the_metrics_and_every_plot_has_something_to_show(prometheus: httpx.Client) -> None:
    wait_until(lambda: ask(prometheus, 'taskyard_tasks{state="done"} > 10'), "it has seen both jobs", SLOWLY_KNOWN)
    assert [one["value"][1] for one in ask(prometheus, "taskyard_workers")] == ["2"]
    for plot in PLOTS:
        for target in plot["targets"]:
            expression = target["expr"].replace("$__rate_interval", "5m")
            wait_until(partial(ask, prometheus, expression), f"{plot['title']} shows something", SLOWLY_KNOWN)
    rules = prometheus.get("/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert [rule["name"] for rule in rules] == NAMES
    assert all(rule["health"] == "ok" for rule in rules)
