"""Results as they come: by pages, and as server-sent events."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from time import monotonic
from typing import Any

import httpx
import pytest

from dashboard.app import STREAMS
from master.committer import results_of
from taskyard.codec import encode
from taskyard.errors import Unreachable
from taskyard.transport import RemoteQueue
from tests.dashboard.conftest import FULL, Dashboard
from tests.dashboard.test_submit import API, is_problem
from tests.harness import Harness, InThread, done, task, wait_until


def end(harness: Harness, count: int) -> None:
    """Let the next tasks end, each with its id for a value."""
    leases = harness.queue.lease("worker", count, 0)
    harness.queue.settle("worker", [done(lease, encode(lease.id)) for lease in leases])


def submit(harness: Harness, count: int) -> None:
    harness.queue.submit([task(f"a-{n}") for n in range(count)])


def events_of(response: httpx.Response) -> Iterator[dict[str, Any]]:
    """Events of a stream; what it says to keep the connection is left out."""
    event: dict[str, Any] = {}
    for line in response.iter_lines():
        name, _, value = line.partition(": ")
        if line and name:
            event[name] = value
        elif not line and "event" in event:
            yield {**event, "data": json.loads(event["data"])}
            event = {}
        elif not line:
            event = {}


def test_pages_of_results_follow_each_other_without_gap_or_repetition(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 5)
    end(harness, 4)
    seen: list[str] = []
    cursor = 0
    for _ in range(3):
        page = dashboard.client.get(f"{API}/jobs/job/results", params={"after": cursor, "limit": 2}).json()
        seen += [one["value"] for one in page["results"]]
        cursor = page["cursor"]
    assert seen == [f"a-{n}" for n in range(4)]
    assert (page["results"], page["open"]) == ([], 1)


def test_a_page_may_be_waited_for(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 1)
    waiting = InThread(lambda: dashboard.another(FULL).get(f"{API}/jobs/job/results", params={"wait": 5}).json())
    harness.wait_until_one_waits(results_of("job"))
    end(harness, 1)
    assert [one["value"] for one in waiting.result()["results"]] == ["a-0"]
    is_problem(dashboard.client.get(f"{API}/jobs/job/results", params={"wait": 5.1}), 422)
    is_problem(dashboard.client.get(f"{API}/jobs/job/results", params={"wait": "nan"}), 422)


def test_a_stream_has_each_result_and_ends_with_the_job(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 250)
    end(harness, 200)
    with dashboard.client.stream("GET", f"{API}/jobs/job/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_of(response)
        first = [next(events) for _ in range(200)]
        end(harness, 50)
        rest = list(events)
    assert [one["data"]["value"] for one in first + rest[:-1]] == [f"a-{n}" for n in range(250)]
    assert [int(one["id"]) for one in first] == [one["data"]["cursor"] for one in first]
    assert rest[-1]["event"] == "end"


def test_a_stream_goes_on_behind_the_last_event_and_a_finished_one_says_so(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 3)
    end(harness, 3)
    with dashboard.client.stream("GET", f"{API}/jobs/job/events") as response:
        events = list(events_of(response))
    assert events[3] == {"id": events[2]["id"], "event": "end", "data": {}}
    headers = {"Last-Event-ID": events[1]["id"]}
    with dashboard.client.stream("GET", f"{API}/jobs/job/events", headers=headers) as response:
        assert list(events_of(response)) == events[2:]
    with dashboard.client.stream("GET", f"{API}/jobs/job/events", params={"after": events[0]["id"]}) as response:
        assert list(events_of(response)) == events[1:]
    assert dashboard.client.get(f"{API}/jobs/job/events", headers={"Last-Event-ID": events[2]["id"]}).status_code == 204
    for wrong in ("x", "-1", "1.5", "²", str(2**63)):
        headers = {"Last-Event-ID": wrong.encode()}
        is_problem(dashboard.client.get(f"{API}/jobs/job/events", headers=headers), 422)


def test_a_stream_outlives_a_restart_of_the_master(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 2)
    end(harness, 1)
    with dashboard.client.stream("GET", f"{API}/jobs/job/events") as response:
        events = events_of(response)
        assert next(events)["data"]["value"] == "a-0"
        harness.reopen()
        end(harness, 1)
        assert [one["event"] for one in events] == ["result", "end"]


def test_a_stream_of_a_job_that_is_forgotten_ends(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 1)
    with dashboard.client.stream("GET", f"{API}/jobs/job/events") as response:
        harness.wait_until_one_waits(results_of("job"))
        harness.queue.cancel(["a-0"])
        assert [one["event"] for one in events_of(response)] == ["result", "end"]


def test_streams_are_bounded_and_what_is_asked_meanwhile_is_answered(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 1)
    streams = [dashboard.another(FULL).stream("GET", f"{API}/jobs/job/events") for _ in range(STREAMS)]
    for stream in streams:
        assert stream.__enter__().status_code == 200
    response = dashboard.client.get(f"{API}/jobs/job/events")
    is_problem(response, 429)
    assert int(response.headers["retry-after"]) > 0
    assert dashboard.client.get(f"{API}/stats").json()["ready"] == 1
    streams[0].__exit__(None, None, None)
    wait_until(lambda: opened(dashboard), "a place is free again")
    for stream in streams[1:]:
        stream.__exit__(None, None, None)


def test_a_stream_counts_from_the_moment_it_is_let_in(
    dashboard: Dashboard, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(harness, 1)
    streams = [dashboard.another(FULL).stream("GET", f"{API}/jobs/job/events") for _ in range(STREAMS)]
    assert [stream.__enter__().status_code for stream in streams[1:]] == [200] * (STREAMS - 1)
    looks, may_go_on = threading.Event(), threading.Event()
    ask = RemoteQueue.jobs

    def jobs(*asked: Any) -> Any:
        if threading.current_thread().name.startswith("dashboard_"):  # who looks whether a stream can begin
            looks.set()
            assert may_go_on.wait(20)
        return ask(*asked)

    monkeypatch.setattr(RemoteQueue, "jobs", jobs)
    last = InThread(lambda: streams[0].__enter__().status_code)
    assert looks.wait(10)
    is_problem(dashboard.client.get(f"{API}/jobs/job/events", timeout=10), 429)
    may_go_on.set()
    assert last.result() == 200
    for stream in streams:
        stream.__exit__(None, None, None)


def test_what_was_refused_takes_no_place(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 1)
    for _ in range(STREAMS + 1):
        is_problem(dashboard.client.get(f"{API}/jobs/unknown/events"), 404)
    assert opened(dashboard)


def test_a_stream_pauses_between_tries_while_the_queue_refuses_at_once(
    dashboard: Dashboard, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    pause = 4.0  # a long one, so that a busy machine is told apart from a loop that stands still
    monkeypatch.setattr("dashboard.rest.stream.PAUSE", pause)
    submit(harness, 1)
    with dashboard.client.stream("GET", f"{API}/jobs/job/events") as response:
        harness.wait_until_one_waits(results_of("job"))

        def refuse(*_: object) -> None:
            raise Unreachable("too many requests wait for the queue already")

        monkeypatch.setattr(harness.engine, "jobs", refuse)
        end(harness, 1)
        lines = response.iter_lines()
        next(line for line in lines if "does not answer" in line)
        begun = monotonic()
        next(line for line in lines if "does not answer" in line)
        assert monotonic() - begun > 0.9 * pause
        assert dashboard.client.get("/healthz").elapsed.total_seconds() < 0.7 * pause
        monkeypatch.undo()
        assert "event: end" in list(lines)


def test_a_page_never_says_that_all_was_read_while_there_are_results_behind_it(
    dashboard: Dashboard, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(harness, 1)
    ask = RemoteQueue.results

    def results(*asked: Any) -> Any:
        found = ask(*asked)
        end(harness, 1)  # between this question and whatever is asked next
        return found

    monkeypatch.setattr(RemoteQueue, "results", results)
    page = dashboard.client.get(f"{API}/jobs/job/results").json()
    assert (page["results"], page["open"]) == ([], 1)
    page = dashboard.client.get(f"{API}/jobs/job/results").json()
    assert ([one["value"] for one in page["results"]], page["open"]) == (["a-0"], 0)


def opened(dashboard: Dashboard) -> bool:
    with dashboard.client.stream("GET", f"{API}/jobs/job/events") as response:
        return response.status_code == 200


def test_a_stop_ends_streams_at_once(dashboard: Dashboard, harness: Harness) -> None:
    submit(harness, 1)
    with dashboard.client.stream("GET", f"{API}/jobs/job/events") as response:
        harness.wait_until_one_waits(results_of("job"))
        stopping = InThread(dashboard.stop_serving)
        assert list(events_of(response)) == []
    assert stopping.result() < 4.5
