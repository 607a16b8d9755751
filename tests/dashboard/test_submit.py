"""Submitting over REST."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dashboard.rest.repeats import FORGET, KEPT_SECONDS, OtherRequest, Repeats
from taskyard.codec import decode
from taskyard.errors import QueueFull, StoreFull
from tests.dashboard.conftest import Dashboard, offer
from tests.harness import Harness

API = "/api/v1"


def is_problem(response: Any, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    told: dict[str, Any] = response.json()
    assert told["status"] == status
    assert told["type"] == "about:blank"
    assert told["title"]
    assert told["detail"]
    return told


def test_a_task_is_submitted_with_all_its_options(dashboard: Dashboard, harness: Harness) -> None:
    options = {"priority": 3, "retries": 2, "backoff": 4, "time_limit": 5.5, "expiry": 60, "result_ttl": 100, "delay": 0}
    told = dashboard.client.post(
        f"{API}/tasks", json={"name": "work", "args": [1, "ü"], "kwargs": {"a": [None]}, "job": "nightly", **options}
    )
    assert told.status_code == 201
    assert (told.json()["job"], told.json()["new"]) == ("nightly", 1)
    (task,) = harness.queue.show(told.json()["ids"])
    assert (task.name, task.job, task.priority, task.retries, task.backoff) == ("work", "nightly", 3, 2, 4)
    assert (task.time_limit, task.begin_by - task.submitted) == (5.5, 60)
    assert decode(task.payload) == [[1, "ü"], {"a": [None]}]


def test_many_tasks_are_one_job_in_the_order_of_the_request(dashboard: Dashboard, harness: Harness) -> None:
    told = dashboard.client.post(f"{API}/jobs", json={"tasks": [{"name": "work", "args": [n]} for n in range(1000)]}).json()
    assert (told["new"], len(told["ids"])) == (1000, 1000)
    assert harness.queue.jobs(told["job"], 1, 0)[0].tasks == 1000
    shown = {task.id: decode(task.payload)[0] for task in harness.queue.show(told["ids"])}
    assert [shown[task_id] for task_id in told["ids"]] == [[n] for n in range(1000)]


def test_a_delayed_task_waits(dashboard: Dashboard, harness: Harness) -> None:
    told = dashboard.client.post(f"{API}/tasks", json={"name": "work", "delay": 60}).json()
    assert dashboard.client.get(f"{API}/tasks/{told['ids'][0]}").json()["state"] == "delayed"


def test_the_same_request_with_the_same_key_submits_nothing_twice(dashboard: Dashboard, harness: Harness) -> None:
    body = {"tasks": [{"name": "work", "args": [1]}, {"name": "other"}]}
    first, second = (dashboard.client.post(f"{API}/jobs", json=body, headers={"Idempotency-Key": "k 1"}).json() for _ in "12")
    assert (first["new"], second["new"]) == (2, 0)
    assert (first["job"], first["ids"]) == (second["job"], second["ids"])
    assert harness.queue.stats()["ready"] == 2


def test_another_request_with_the_same_key_is_refused(dashboard: Dashboard, harness: Harness) -> None:
    headers = {"Idempotency-Key": "k"}
    assert dashboard.client.post(f"{API}/tasks", json={"name": "work", "args": [1]}, headers=headers).status_code == 201
    for other in ({"args": [2]}, {"args": [1], "priority": 1}, {"args": [1], "job": "x"}):
        is_problem(dashboard.client.post(f"{API}/tasks", json={"name": "work", **other}, headers=headers), 409)
    assert harness.queue.stats()["ready"] == 1


def test_a_key_counts_also_after_a_restart_and_when_the_task_has_ended(
    dashboard: Dashboard, harness: Harness, tmp_path: Any
) -> None:
    headers = {"Idempotency-Key": "k"}
    first = dashboard.client.post(f"{API}/tasks", json={"name": "work", "args": [1]}, headers=headers).json()
    assert dashboard.client.post(f"{API}/tasks/{first['ids'][0]}/cancel").json() == {"count": 1}
    again = Dashboard(harness.queue, tmp_path / "dashboard")
    assert again.client.post(f"{API}/tasks", json={"name": "work", "args": [1]}, headers=headers).json() == {**first, "new": 0}
    is_problem(again.client.post(f"{API}/tasks", json={"name": "work", "args": [2]}, headers=headers), 409)
    again.stop()


def test_a_request_is_repeated_with_its_key_though_the_worker_has_gone_meanwhile(dashboard: Dashboard, harness: Harness) -> None:
    body, headers = {"name": "work", "args": [1]}, {"Idempotency-Key": "k"}
    first = dashboard.client.post(f"{API}/tasks", json=body, headers=headers).json()
    offer(harness, "another", session="newer")
    harness.queue.leave("worker")
    assert dashboard.client.post(f"{API}/tasks", json=body, headers=headers).json() == {**first, "new": 0}
    harness.queue.leave("newer")
    assert dashboard.client.post(f"{API}/tasks", json=body, headers=headers).json() == {**first, "new": 0}
    is_problem(dashboard.client.post(f"{API}/tasks", json={"name": "other"}, headers=headers), 409)


def test_a_request_that_was_refused_has_not_used_its_key(
    dashboard: Dashboard, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = {"Idempotency-Key": "k"}
    is_problem(dashboard.client.post(f"{API}/tasks", json={"name": "wrok"}, headers=headers), 422)

    def refuse(*_: object) -> None:
        raise QueueFull("full")

    monkeypatch.setattr(harness.engine, "submit", refuse)
    is_problem(dashboard.client.post(f"{API}/tasks", json={"name": "work", "args": [1]}, headers=headers), 429)
    monkeypatch.undo()
    assert dashboard.client.post(f"{API}/tasks", json={"name": "work", "args": [2]}, headers=headers).json()["new"] == 1
    is_problem(dashboard.client.post(f"{API}/tasks", json={"name": "work", "args": [1]}, headers=headers), 409)


def test_of_two_requests_with_one_key_at_the_same_moment_one_is_taken(tmp_path: Path) -> None:
    repeats = Repeats(tmp_path / "requests.sqlite")
    with repeats.using("k", "a") as first, repeats.using("k", "a") as same:
        assert (first, same) == (False, False)
        with pytest.raises(OtherRequest), repeats.using("k", "b"):
            pass
    with repeats.using("k", "a") as again:
        assert again
    with pytest.raises(OtherRequest), repeats.using("k", "b"):
        pass
    repeats.close()


def test_keys_are_forgotten_by_age_without_looking_at_each(tmp_path: Path) -> None:
    repeats = Repeats(tmp_path / "requests.sqlite")
    plan = repeats._database.execute(f"EXPLAIN QUERY PLAN {FORGET}", (0.0, 1)).fetchall()
    told = [step for *_, step in plan]
    assert any("requests_by_age" in step for step in told)
    assert not any(step.startswith("SCAN") for step in told)
    with repeats.using("old", "a"):
        pass
    repeats._database.execute("UPDATE requests SET at = at - ?", (KEPT_SECONDS + 1,))
    with repeats.using("old", "b") as used, repeats.using("new", "b"):
        assert not used
    assert repeats._database.execute("SELECT key FROM requests ORDER BY key").fetchall() == [("new",), ("old",)]
    repeats.close()


def test_calls_with_one_key_are_one_task(dashboard: Dashboard, harness: Harness) -> None:
    told = [dashboard.client.post(f"{API}/tasks", json={"name": "work", "key": "today", "args": [n]}).json() for n in (1, 2)]
    assert told[0]["ids"] == told[1]["ids"]
    assert [one["new"] for one in told] == [1, 0]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"name": "unknown"}, "no worker offers 'unknown'; there are other, work"),
        ({"name": "function@3.13"}, "no worker offers"),
        ({"name": ""}, "at least 1 character"),
        ({"name": "\ud800"}, ""),
        ({"name": "work", "key": "\ud800"}, ""),
        ({"name": "work", "job": "\ud800"}, ""),
        ({"name": "work", "job": "x" * 201}, "200"),
        ({}, "body.name"),
        ({"name": "work", "colour": "red"}, "body.colour"),
        ({"name": "work", "args": {}}, "body.args"),
        ({"name": "work", "delay": -1}, "body.delay"),
        ({"name": "work", "delay": 1e10}, "body.delay"),
        ({"name": "work", "delay": 10**400}, "body.delay"),
        ({"name": "work", "priority": 2**31}, "body.priority"),
        ({"name": "work", "retries": 1.5}, "body.retries"),
        ({"name": "work", "retries": -2}, "body.retries"),
        ({"name": "work", "args": [float("nan")]}, "no JSON"),
        ([], "body"),
    ],
)
def test_what_makes_no_sense_is_refused_and_nothing_is_taken(
    body: Any, said: str, dashboard: Dashboard, harness: Harness
) -> None:
    response = dashboard.client.post(f"{API}/tasks", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert said in is_problem(response, 422)["detail"]
    stats = harness.queue.stats()
    assert (stats["ready"], stats["delayed"]) == (0, 0)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b'{"name": "work", "args": [' + b"9" * 5000 + b"]}"])
def test_a_body_that_is_no_json_is_refused(body: bytes, dashboard: Dashboard) -> None:
    response = dashboard.client.post(f"{API}/tasks", content=body, headers={"Content-Type": "application/json"})
    is_problem(response, response.status_code)
    assert response.status_code in (400, 422)


def test_arguments_that_are_nested_too_deeply_are_refused(dashboard: Dashboard) -> None:
    body = '{"name": "work", "args": ' + "[" * 900 + "]" * 900 + "}"
    response = dashboard.client.post(f"{API}/tasks", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code in (201, 400, 422)


def test_too_much_at_a_time_is_refused(dashboard: Dashboard, harness: Harness) -> None:
    many = {"tasks": [{"name": "work"}] * 1001}
    assert "1000" in is_problem(dashboard.client.post(f"{API}/jobs", json=many), 422)["detail"]
    is_problem(dashboard.client.post(f"{API}/tasks", json={"name": "work", "args": ["x" * 5_000_000]}), 413)
    is_problem(dashboard.client.post(f"{API}/tasks", json={"name": "work", "args": ["x" * 3_500_000]}), 413)
    chunks = (b"x" * 100_000 for _ in range(60))
    is_problem(dashboard.client.post(f"{API}/tasks", content=chunks, headers={"Content-Type": "application/json"}), 413)
    assert harness.queue.stats()["ready"] == 0


def test_without_a_worker_a_submit_is_put_off(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.leave("worker")
    response = dashboard.client.post(f"{API}/tasks", json={"name": "work"})
    assert "start one" in is_problem(response, 503)["detail"]
    assert int(response.headers["retry-after"]) > 0


@pytest.mark.parametrize(("error", "status"), [(QueueFull("full"), 429), (StoreFull("the disk is full"), 507)])
def test_a_full_queue_and_a_full_disk_say_when_to_come_again(
    error: Exception, status: int, dashboard: Dashboard, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(harness.engine, "submit", refuse)
    response = dashboard.client.post(f"{API}/tasks", json={"name": "work"})
    is_problem(response, status)
    assert int(response.headers["retry-after"]) > 0


def test_while_there_is_no_master_it_is_told_within_seconds(dashboard: Dashboard, harness: Harness) -> None:
    assert dashboard.client.get("/readyz").status_code == 200
    harness._end_server()
    response = dashboard.client.get(f"{API}/stats")
    is_problem(response, 503)
    assert int(response.headers["retry-after"]) > 0
    assert dashboard.client.get("/readyz").status_code == 503
    assert dashboard.client.get("/healthz").status_code == 200
