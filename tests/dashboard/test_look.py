"""What the API tells of tasks, jobs, workers and counts, and what it does to them."""

from __future__ import annotations

import json
import pickle
import threading
from typing import Any

import pytest

from dashboard.app import CALLS, STREAMS
from dashboard.problems import STATUS, of_error
from dashboard.rest import plain
from dashboard.rest.plain import NotPlain
from taskyard.calls import pack_function, pack_many, pack_outcomes, pack_values
from taskyard.codec import encode, encode_error, encode_json
from taskyard.errors import BadRequest, NotAllowed, TaskyardError
from taskyard.model import Lease
from taskyard.transport import RemoteQueue
from tests.dashboard.conftest import FULL, READ, Dashboard, offer
from tests.dashboard.test_submit import API, is_problem
from tests.harness import LEASE_TIME, Harness, InThread, done, failed, schedule, task


def lend(harness: Harness, task_id: str = "a-0", payload: bytes = encode_json(([1], {}))) -> Lease:
    harness.queue.submit([task(task_id, payload=payload)])
    (lease,) = harness.queue.lease("worker", 1, 0)
    return lease


def told_of(dashboard: Dashboard, task_id: str = "a-0") -> dict[str, Any]:
    told: dict[str, Any] = dashboard.client.get(f"{API}/tasks/{task_id}").json()
    return told


# Lists


def test_tasks_are_listed_by_state_and_job_a_page_at_a_time(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task(f"a-{n}") for n in range(5)] + [task("b-0", job="other", delay=60)])
    seen: list[str] = []
    after: int | None = 0
    while after is not None:
        page = dashboard.client.get(f"{API}/tasks", params={"limit": 2, "after": after, "job": "job"}).json()
        seen += [one["id"] for one in page["tasks"]]
        after = page["next"]
    assert seen == [f"a-{n}" for n in range(5)]
    (late,) = dashboard.client.get(f"{API}/tasks", params={"state": "delayed"}).json()["tasks"]
    assert (late["id"], late["job"], late["cause"]) == ("b-0", "other", None)


def test_tasks_are_found_by_name_and_by_part_of_their_ids(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task("mail-1", name="send"), task("mail-2"), task("x", name="send", job="other")])

    def found(**query: str) -> list[str]:
        return [one["id"] for one in dashboard.client.get(f"{API}/tasks", params=query).json()["tasks"]]

    assert found(name="send") == ["mail-1", "x"]
    assert found(text="ail") == ["mail-1", "mail-2"]
    assert found(text="ail", name="send") == ["mail-1"]
    assert found(name="send", job="other", state="ready") == ["x"]
    assert found(name="sen") == []
    for query in ("name=", "text=", f"text={'x' * 201}"):
        is_problem(dashboard.client.get(f"{API}/tasks?{query}"), 422)


@pytest.mark.parametrize(
    "query", ["state=unknown", "stat=failed", "=x", "limit=0", "limit=1001", "after=-1", f"after={2**63}", "job=", "limit=x"]
)
def test_a_list_that_makes_no_sense_is_refused(query: str, dashboard: Dashboard) -> None:
    is_problem(dashboard.client.get(f"{API}/tasks?{query}"), 422)


def test_jobs_are_counted(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.settle("worker", [done(lend(harness))])
    harness.queue.submit([task("a-1")])
    told = dashboard.client.get(f"{API}/jobs/job").json()
    assert {name: told[name] for name in ("tasks", "open", "done", "failed")} == {"tasks": 2, "open": 1, "done": 1, "failed": 0}
    assert dashboard.client.get(f"{API}/jobs").json() == {"jobs": [told], "next": None}


def test_an_id_may_be_any_text(dashboard: Dashboard, harness: Harness) -> None:
    for name in ("a/b", "ü ?#%", "..", "x\x00y"):
        harness.queue.submit([task(f"id {name}", job=f"job {name}")])
        assert dashboard.client.get(f"{API}/tasks/{quoted(f'id {name}')}").json()["job"] == f"job {name}"
        assert dashboard.client.get(f"{API}/jobs/{quoted(f'job {name}')}").json()["tasks"] == 1
        assert dashboard.client.post(f"{API}/tasks/{quoted(f'id {name}')}/cancel").json() == {"count": 1}


def quoted(text: str) -> str:
    return "".join(f"%{byte:02X}" for byte in text.encode())


def test_workers_counts_and_schedules_are_told(dashboard: Dashboard, harness: Harness) -> None:
    told = {"host": "h", "slots": 1, "busy": 0, "tasks": ["work"], "schedules": [tuple(schedule("every 60"))]}
    harness.queue.heartbeat("other", told)
    harness.advance(1)
    workers = {one["session"]: one for one in dashboard.client.get(f"{API}/workers").json()}
    assert (workers["worker"]["tasks"], workers["worker"]["functions"]) == (["work", "other"], True)
    assert (workers["other"]["functions"], workers["other"]["slots"]) == (False, 1)
    assert dashboard.client.get(f"{API}/stats").json()["workers"] == 2
    (periodic,) = dashboard.client.get(f"{API}/schedules").json()
    assert (periodic["name"], periodic["spec"]) == ("work", "every 60")


def test_a_worker_that_has_gone_is_told_as_what_it_is(dashboard: Dashboard, harness: Harness) -> None:
    facts = {"python": "3.13", "version": "0.1.0", "pid": 7, "cpu": 1.5, "memory": 2**20, "started": 1_600_000_000.0}
    for session in ("leaves", "silent"):
        harness.queue.heartbeat(session, {"host": "h", "slots": 1, "tasks": ["work"], **facts})
    harness.queue.leave("leaves")
    harness.advance(LEASE_TIME / 2)
    offer(harness)
    harness.advance(LEASE_TIME / 2 + 1)
    assert dashboard.client.post(f"{API}/workers/worker/drain").json() == {"count": 1}
    told = {one["session"]: one for one in dashboard.client.get(f"{API}/workers").json()}
    assert {name: one["state"] for name, one in told.items()} == {"worker": "draining", "leaves": "left", "silent": "lost"}
    assert {name: one["left"] is None for name, one in told.items()} == {"worker": True, "leaves": False, "silent": False}
    assert {name: one["lost"] for name, one in told.items()} == {"worker": False, "leaves": False, "silent": True}
    assert {name: told["silent"][name] for name in facts} == facts
    assert (told["worker"]["draining"], told["worker"]["started"]) == (True, None)


def test_what_runs_is_told_with_its_progress(dashboard: Dashboard, harness: Harness) -> None:
    lease = lend(harness)
    harness.queue.heartbeat("worker", {"host": "h", "slots": 1, "tasks": ["work"], "progress": {lease.id: (1.0, 0.0, "half")}})
    (running,) = dashboard.client.get(f"{API}/running").json()
    assert (running["id"], running["session"], running["done"], running["total"], running["note"]) == (
        "a-0",
        "worker",
        1.0,
        None,
        "half",
    )


# Deeds


def test_tasks_are_cancelled_and_retried_one_or_many(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.settle("worker", [failed(lend(harness))])
    assert told_of(dashboard)["state"] == "failed"
    assert dashboard.client.post(f"{API}/tasks/a-0/retry").json() == {"count": 1}
    assert told_of(dashboard)["state"] == "ready"
    assert dashboard.client.post(f"{API}/tasks/a-0/cancel").json() == {"count": 1}
    assert dashboard.client.post(f"{API}/tasks/a-0/cancel").json() == {"count": 0}
    assert dashboard.client.post(f"{API}/tasks/a-0/retry").json() == {"count": 0}
    harness.queue.submit([task(f"b-{n}") for n in range(3)])
    assert dashboard.client.post(f"{API}/tasks/cancel", json={"ids": ["b-0", "b-1", "unknown"]}).json() == {"count": 2}
    assert dashboard.client.post(f"{API}/tasks/retry", json={"ids": ["b-0"]}).json() == {"count": 0}
    is_problem(dashboard.client.post(f"{API}/tasks/cancel", json={"ids": []}), 422)
    is_problem(dashboard.client.post(f"{API}/tasks/cancel", json={"ids": ["x"] * 1001}), 422)


def test_a_job_is_cancelled_and_forgotten(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task(f"a-{n}") for n in range(3)])
    assert dashboard.client.post(f"{API}/jobs/job/cancel").json() == {"count": 3}
    assert dashboard.client.post(f"{API}/jobs/job/forget").json() == {"count": 3}
    is_problem(dashboard.client.post(f"{API}/jobs/job/forget"), 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/tasks/unknown"),
        ("POST", "/tasks/unknown/cancel"),
        ("POST", "/tasks/unknown/retry"),
        ("GET", "/jobs/unknown"),
        ("GET", "/jobs/unknown/results"),
        ("GET", "/jobs/unknown/events"),
        ("POST", "/jobs/unknown/cancel"),
        ("GET", "/nowhere"),
    ],
)
def test_what_is_not_there_is_told(method: str, path: str, dashboard: Dashboard) -> None:
    is_problem(dashboard.client.request(method, f"{API}{path}"), 404)


def test_a_method_that_is_not_for_a_path_is_told_with_those_that_are(dashboard: Dashboard) -> None:
    response = dashboard.client.delete(f"{API}/stats")
    is_problem(response, 405)
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path",
    ["/api/v1/stats", "/api/v1/workers", "/api/v1/tasks/a-0", "/api/v1/jobs/job/results", "/openapi.json", "/docs", "/metrics",
     "/healthz", "/readyz", "/sign-in", "/"],
)  # fmt: skip
def test_what_may_be_got_has_its_headers_alone_too(path: str, dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task("a-0")])
    got, headed = dashboard.client.get(path), dashboard.client.head(path)
    assert (headed.status_code, headed.content) == (got.status_code, b"") == (200, b"")
    assert headed.headers["content-type"] == got.headers["content-type"]
    assert int(headed.headers["content-length"]) > 0
    assert dashboard.client.head(f"{API}/tasks/unknown").status_code == 404
    refused = dashboard.client.head(f"{API}/tasks/cancel/cancel")
    assert refused.status_code in (404, 405)


def test_the_headers_of_a_stream_begin_none(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task("a-0")])
    for _ in range(STREAMS + 1):
        response = dashboard.client.head(f"{API}/jobs/job/events")
        assert (response.status_code, response.content) == (200, b"")
        assert response.headers["content-type"].startswith("text/event-stream")


REFUSED = [(NotAllowed("its key is a client's"), 403), (BadRequest("nonsense"), 422)]


@pytest.mark.parametrize(("error", "status"), REFUSED)
def test_what_the_queue_refuses_is_told_as_what_it_is(
    error: Exception, status: int, dashboard: Dashboard, harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise error

    monkeypatch.setattr(harness.engine, "stats", refuse)
    assert is_problem(dashboard.client.get(f"{API}/stats"), status)["detail"] == str(error)


def test_each_error_of_the_queue_has_a_status_of_its_own() -> None:
    told = {kind: of_error(kind("why")) for kind in STATUS}
    assert {kind: response.status_code for kind, response in told.items()} == {
        kind: status for kind, (status, _) in STATUS.items()
    }
    for response in told.values():
        assert ("retry-after" in response.headers) == (response.status_code in (429, 503, 507))
    assert of_error(TaskyardError("the master failed: KeyError: 1")).status_code == 502


def test_the_probe_is_answered_while_all_connections_are_taken(dashboard: Dashboard, monkeypatch: pytest.MonkeyPatch) -> None:
    taken, may_go_on = threading.Semaphore(0), threading.Event()

    def schedules(_: object) -> list[Any]:
        taken.release()
        assert may_go_on.wait(20)
        return []

    monkeypatch.setattr(RemoteQueue, "schedules", schedules)
    calls = [InThread(lambda: dashboard.another(FULL).get(f"{API}/schedules").status_code) for _ in range(CALLS)]
    assert all(taken.acquire(timeout=10) for _ in range(CALLS))
    assert dashboard.client.get("/readyz").status_code == 200
    may_go_on.set()
    assert [call.result() for call in calls] == [200] * CALLS


def test_the_queue_is_paused_and_resumed(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task("a-0")])
    for path, paused, changed in (("pause", True, True), ("pause", True, False), ("resume", False, True)):
        assert dashboard.client.post(f"{API}/queue/{path}").json() == {"paused": paused, "changed": changed}
        assert dashboard.client.get(f"{API}/stats").json()["paused"] is paused
        assert harness.queue.lease("worker", 1, 0) == [] or not paused
    is_problem(dashboard.another(READ).post(f"{API}/queue/pause"), 403)


def test_a_worker_is_drained_and_one_that_is_not_there_is_told(dashboard: Dashboard, harness: Harness) -> None:
    offer(harness, session="host/7")
    assert dashboard.client.post(f"{API}/workers/host%2F7/drain").json() == {"count": 1}
    assert harness.queue.heartbeat("host/7", {"host": "h", "slots": 1, "tasks": ["work"]}).drain
    assert not harness.queue.heartbeat("worker", {"host": "h", "slots": 1, "tasks": ["work"]}).drain
    harness.queue.leave("worker")
    for session in ("worker", "unknown"):
        assert "/workers" in is_problem(dashboard.client.post(f"{API}/workers/{session}/drain"), 404)["detail"]


def test_the_attempts_of_a_task_are_told(dashboard: Dashboard, harness: Harness) -> None:
    harness.queue.submit([task("a-0", retries=1)])
    (lease,) = harness.queue.lease("worker", 1, 0)
    harness.advance(2)
    harness.queue.settle("worker", [failed(lease, "exception: ValueError", delay=0)])
    harness.queue.lease("worker", 1, 0)
    first, second = dashboard.client.get(f"{API}/tasks/a-0/attempts").json()
    assert (first["number"], first["session"], first["host"], first["kind"]) == (1, "worker", "host", "failed")
    assert (first["cause"], first["ended"] - first["leased"]) == ("exception: ValueError", 2)
    assert (second["number"], second["kind"], second["ended"], second["cause"]) == (2, "leased", None, None)
    is_problem(dashboard.client.get(f"{API}/tasks/unknown/attempts"), 404)


def test_all_tasks_that_failed_alike_are_retried(dashboard: Dashboard, harness: Harness) -> None:
    causes = {"a-0": "exception: ValueError", "a-1": "exception: OSError", "a-2": "signal: SIGKILL (9)", "a-3": "time limit"}
    for task_id, cause in causes.items():
        lease = lend(harness, task_id)
        harness.queue.settle("worker", [failed(lease, cause)._replace(final=True)])
    retried = f"{API}/tasks/retry-failed"
    assert dashboard.client.post(retried, json={"name": "other"}).json() == {"count": 0}
    assert dashboard.client.post(retried, json={"cause": "exception: V", "name": "work"}).json() == {"count": 1}
    assert (told_of(dashboard, "a-0")["state"], told_of(dashboard, "a-1")["state"]) == ("ready", "failed")
    assert dashboard.client.post(retried, json={"job": "job", "cause": "exception"}).json() == {"count": 1}
    is_problem(dashboard.client.post(retried), 422)
    is_problem(dashboard.client.post(retried, json={"nmae": "work"}), 422)
    assert dashboard.client.post(retried, json={}).json() == {"count": 2}


# Values


@pytest.mark.parametrize(
    "value", [None, True, -(2**70), 1.5, "ü\ud800", [1, [2]], {"a": {"b": None}}, "x" * 100_000, list(range(5000))]
)
def test_plain_values_are_told_as_json_whichever_way_they_were_encoded(
    value: Any, dashboard: Dashboard, harness: Harness
) -> None:
    for number, encoded in enumerate((encode(value), encode_json(value))):
        harness.queue.settle("worker", [done(lend(harness, f"a-{number}"), encoded)])
        told = told_of(dashboard, f"a-{number}")
        assert (told["value"], told["opaque"], told["state"]) == (value, None, "done")


class Bomb:
    """Whoever unpickles it runs code."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("it was unpickled",))


def chain(depth: int) -> Any:
    """A few bytes that stand for 2 ** depth values."""
    value: Any = [0]
    for _ in range(depth):
        value = [value, value]
    return value


def knot() -> Any:
    value: list[Any] = []
    value.append(value)
    return value


OPAQUE = [
    (encode(Bomb()), "asks for"),
    (encode(b"bytes"), "bytes"),
    (encode({1, 2}), "asks for"),
    (encode({1: 2}), "no text"),
    (encode(float("nan")), "float"),
    (encode(10**400), "int"),
    (encode(chain(40)), "too much"),
    (encode(knot()), "too deep"),
    (encode("x" * 2_000_000), "too long"),
    (encode_json("x" * 2_000_000), "too long"),
    (b"j{", "no JSON"),
    (b"jNaN", "float"),
    (b"p\x80\x05garbage", "no pickle"),
    (b"p\x80\x05(.", "no pickle"),
    (b"p", "no pickle"),
    (b"?", "neither"),
    (b"", "neither"),
]


@pytest.mark.parametrize(("encoded", "why"), OPAQUE, ids=[why for _, why in OPAQUE])
def test_other_values_stay_closed_and_it_is_told_how_to_get_them(
    encoded: bytes, why: str, dashboard: Dashboard, harness: Harness
) -> None:
    harness.queue.settle("worker", [done(lend(harness), encoded)])
    (told,) = dashboard.client.get(f"{API}/jobs/job/results").json()["results"]
    assert told["value"] is None
    assert (told["opaque"]["opaque"], told["opaque"]["bytes"]) == (True, len(encoded))
    assert why in told["opaque"]["why"]
    assert "taskyard.Cluster" in told["opaque"]["how"]


def test_a_failure_is_told_with_its_traceback_and_nothing_of_it_is_unpickled(dashboard: Dashboard, harness: Harness) -> None:
    try:
        raise ValueError("no such thing: \ud800")
    except ValueError as error:
        text = encode_error(error)
    harness.queue.settle("worker", [failed(lend(harness))._replace(value=text)])
    told = told_of(dashboard)
    assert (told["state"], told["cause"], told["value"]) == ("failed", "exception: ValueError", None)
    assert told["traceback"].startswith("Traceback")
    assert "no such thing" in told["traceback"]
    for number, strange in enumerate((b"error", b"", encode((1, 2)), encode(Bomb()), b"p\x80\x05garbage")):
        harness.queue.settle("worker", [failed(lend(harness, f"b-{number}"))._replace(value=strange)])
        assert told_of(dashboard, f"b-{number}")["traceback"] is None


def test_many_calls_in_one_task_are_told_each(dashboard: Dashboard, harness: Harness) -> None:
    error = encode_error(ValueError("third"))
    values = {
        "a-0": pack_values(0.1, [1, "two"]),
        "a-1": pack_outcomes(0.1, [(True, encode(1)), (True, encode("two")), (False, error)]),
        "a-2": pack_values(0.1, [b"bytes"]),
    }
    for task_id, value in values.items():
        harness.queue.settle("worker", [done(lend(harness, task_id), value)])
    told = [told_of(dashboard, task_id) for task_id in values]
    assert told[0]["calls"] == [1, "two"]
    assert told[1]["calls"][:2] == [1, "two"]
    assert "third" in told[1]["calls"][2]["traceback"]
    assert (told[2]["calls"], told[2]["opaque"]["bytes"]) == (None, len(values["a-2"]))


def test_arguments_are_told_where_they_are_plain(dashboard: Dashboard, harness: Harness) -> None:
    arguments = encode(((1,), {"b": [2]}))
    payloads = {"a-0": arguments, "a-1": encode(((Bomb(),), {})), "a-2": pack_function(b"", arguments)}
    payloads |= {"a-3": pack_many([arguments]), "a-4": b"rValueError\n" + arguments}
    harness.queue.submit([task(task_id, payload=payload) for task_id, payload in payloads.items()])
    told = {task_id: told_of(dashboard, task_id) for task_id in payloads}
    assert told["a-0"]["arguments"] == told["a-4"]["arguments"] == [[1], {"b": [2]}]
    for task_id in ("a-1", "a-2", "a-3"):
        assert told[task_id]["arguments"] is None
        assert told[task_id]["arguments_opaque"]["bytes"] == len(payloads[task_id])


@pytest.mark.parametrize("protocol", [3, 4, 5])
def test_the_reader_of_pickles_reads_what_the_standard_library_writes(protocol: int) -> None:
    shared = ["again"]
    value = {
        "a": (1, -300, 2**40, 2**100, 0.5),
        "b": [None, True, False, b"x", "ü"],
        "c": [(), (1,), (1, 2)],
        "d": [shared, shared],
    }
    assert plain.load(pickle.dumps(value, protocol)) == value


BROKEN = [b".", b"(.", b"h\x00.", b"\x80\x05]K\x01s.", b"\x80\x05}]K\x01u.", b"\x80\x05K\x01K\x02a.", b"e."]


@pytest.mark.parametrize("data", BROKEN)
def test_a_broken_pickle_is_no_more_than_not_plain(data: bytes) -> None:
    with pytest.raises(NotPlain):
        plain.load(data)


# The description


def test_the_description_says_how_each_refusal_looks(dashboard: Dashboard) -> None:
    document = dashboard.client.get("/openapi.json").json()
    assert all(path.startswith(API) for path in document["paths"])
    for operations in document["paths"].values():
        for operation in operations.values():
            assert operation["description"]
            for status, response in operation["responses"].items():
                if int(status) >= 400:
                    assert list(response["content"]) == ["application/problem+json"]
    assert json.dumps(document).count("Optional") == 0


def test_what_a_worker_offers_changes_what_may_be_submitted(dashboard: Dashboard, harness: Harness) -> None:
    is_problem(dashboard.client.post(f"{API}/tasks", json={"name": "new"}), 422)
    offer(harness, "new", session="newer")
    assert dashboard.client.post(f"{API}/tasks", json={"name": "new"}).status_code == 201
