"""What Prometheus is told."""

from __future__ import annotations

from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as families

from taskyard.series import OutcomeSeries
from tests.dashboard.conftest import Dashboard
from tests.dashboard.test_submit import API
from tests.harness import Harness, done, failed, task, wait_until

OPENMETRICS = "application/openmetrics-text; version=1.0.0"


def samples(dashboard: Dashboard) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    response = dashboard.client.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families(response.text)
        for sample in family.samples
    }


def value(dashboard: Dashboard, name: str, **labels: str) -> float | None:
    return samples(dashboard).get((name, frozenset(labels.items())))


def test_the_queue_is_asked_at_each_scrape(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task("a-0"), task("a-1"), task("a-2", delay=60)])
    (lease,) = harness.queue.lease("worker", 1, 0)
    assert {state: value(dashboard, "taskyard_tasks", state=state) for state in ("ready", "leased", "delayed", "done")} == {
        "ready": 1,
        "leased": 1,
        "delayed": 1,
        "done": 0,
    }
    harness.queue.settle("worker", [done(lease)])
    assert value(dashboard, "taskyard_tasks", state="done") == 1
    told = samples(dashboard)
    plain = {name: number for (name, labels), number in told.items() if not labels}
    assert (plain["taskyard_up"], plain["taskyard_workers"], plain["taskyard_slots"], plain["taskyard_slots_busy"]) == (
        1,
        1,
        2,
        1,
    )
    assert plain["taskyard_store_bytes"] == harness.queue.stats()["bytes"]
    assert plain["process_resident_memory_bytes"] > 0


def test_each_name_has_its_ends_its_waits_and_its_runs(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task(f"a-{number}", retries=0) for number in range(3)])
    harness.advance(5)
    leases = harness.queue.lease("worker", 3, 0)
    harness.queue.settle_series("worker", [OutcomeSeries("a", 0, leases[0].token, "done", [b"", b""], seconds=0.02)])
    harness.queue.settle("worker", [failed(leases[2])])
    told = samples(dashboard)

    def of(name: str, **labels: str) -> float:
        return told[f"taskyard_{name}", frozenset({"name": "work", **labels}.items())]

    assert of("tasks_submitted_total") == 3
    assert [of("tasks_ended_total", state=state) for state in ("done", "failed", "cancelled")] == [2, 1, 0]
    assert of("attempts_failed_total") == 1
    assert (of("task_wait_seconds_count"), of("task_wait_seconds_sum")) == (3, 15)
    assert (of("task_run_seconds_count"), of("task_run_seconds_sum")) == (2, 0.02)
    assert [of("task_wait_seconds_bucket", le=le) for le in ("1.0", "10.0", "+Inf")] == [0, 3, 3]
    assert [of("task_run_seconds_bucket", le=le) for le in ("0.00316", "0.01", "+Inf")] == [0, 2, 2]


def test_without_a_master_it_says_just_that(dashboard: Dashboard, harness: Harness) -> None:
    harness._end_server()
    told = samples(dashboard)
    assert told["taskyard_up", frozenset()] == 0
    assert not any(name == "taskyard_tasks" for name, _ in told)


def test_requests_are_counted_by_route_not_by_path(dashboard: Dashboard) -> None:
    for number in range(3):
        dashboard.client.get(f"{API}/tasks/unknown-{number}")
        dashboard.client.get(f"/nowhere/{number}")
    dashboard.client.request("TRACE", "/nowhere")
    count = "taskyard_dashboard_requests_total"
    assert value(dashboard, count, method="GET", route="/api/v1/tasks/{task:path}", status="404") == 3
    assert value(dashboard, count, method="GET", route="other", status="404") == 3
    assert value(dashboard, count, method="other", route="other", status="404") == 1
    assert value(dashboard, "taskyard_dashboard_request_seconds_count", route="other") == 4


def test_streams_are_counted_and_how_long_they_last_is_no_answer_time(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task("a-0")])
    (lease,) = harness.queue.lease("worker", 1, 0)
    harness.queue.settle("worker", [done(lease)])
    path, route = f"{API}/jobs/job/events", "/api/v1/jobs/{job:path}/events"
    assert "event: end" in dashboard.client.get(path).text
    assert dashboard.client.get(path, headers={"Last-Event-ID": "x"}).status_code == 422
    count = "taskyard_dashboard_requests_total"
    wait_until(lambda: value(dashboard, count, method="GET", route=route, status="200") == 1, "the stream was counted")
    assert value(dashboard, "taskyard_dashboard_request_seconds_count", route=route) == 1


def test_both_forms_can_be_read_and_each_name_has_its_unit(dashboard: Dashboard) -> None:
    response = dashboard.client.get("/metrics", headers={"Accept": OPENMETRICS})
    assert response.headers["content-type"].startswith("application/openmetrics-text")
    told = list(openmetrics(response.text))  # type: ignore[no-untyped-call]
    ours = [family for family in told if family.name.startswith("taskyard_")]
    assert len(ours) >= 12
    assert all(family.documentation for family in ours)
