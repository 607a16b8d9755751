"""Whatever a caller sends, the queue refuses it in words, has changed nothing, and goes on serving."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from master.server import ARGUMENTS
from taskyard.errors import BadRequest, PayloadTooLarge, TaskyardError
from taskyard.series import TaskSeries
from taskyard.transport import RemoteQueue
from tests.harness import KINDS, LEASE_TIME, Harness, done, failed, schedule, task

HUGE = 10**5000
NO_NAME = ["", "x" * 201, "\ud800", None, 7, b"a", ("a",), ["a"]]
NO_INT = ["1", 1.0, 2**31, -(2**31) - 1, HUGE, None, True]
NO_SECONDS = ["1", -1, -0.5, float("nan"), float("inf"), 1e10, HUGE, None, True]
WRONG_FIELDS = [
    *(("prefix", value) for value in NO_NAME),
    *(("first", value) for value in [-2, 0.0, None, HUGE, "1", True]),
    *(("job", value) for value in NO_NAME),
    *(("name", value) for value in NO_NAME),
    *(("payloads", [value]) for value in ["text", None, 7, bytearray(b"x"), [1]]),
    *(("payloads", value) for value in [[], None, b"x", [b"x", b"y"]]),
    *((field, value) for field in ("priority", "retries") for value in NO_INT),
    *((field, value) for field in ("delay", "backoff", "time_limit", "result_ttl", "expiry") for value in NO_SECONDS),
]
GOOD = TaskSeries("good", -1, "job", "work", [b""])
NAMES = {"prefix": "id|a series", "first": "a series", "payloads": "payload"}
NO_BATCH: list[Any] = [None, 7, "a", {"a": 1}, {1, 2}, b"x", [7], ["ab"], [()], [("a",)], [tuple(range(20))], [{}], [None]]
NO_TEXT: list[Any] = [None, 7, b"s", ["s"], {}, "\ud800", ("s",)]
NO_COUNT: list[Any] = [-1, "1", 1.5, None, True, 2**63, HUGE, [1]]
NO_KIND: list[Any] = ["lost", None, 7, [], b"done"]
NO_JOB: list[Any] = [[], {}, 0, b"", False, 0.0]
NO_INFO: list[Any] = [
    None,
    [],
    "info",
    {"slots": "many"},
    {"slots": -1},
    {"slots": HUGE},
    {"busy": None},
    {"busy": [1]},
    {"tasks": 5},
    {"tasks": [["add"]]},
    {"tasks": [1, "add"]},
    {"tasks": ["\ud800"]},
    {"tasks": None},
    {"host": 7},
    {"host": "\ud800"},
    {"host": "x" * 100_000},
    {"draining": "no"},
    {"python": 3},
    {"version": 3},
    {"version": "x" * 100_000},
    {"pid": "1"},
    {"cpu": "much"},
    {"cpu": float("nan")},
    {"cpu": -1},
    {"memory": 0.5},
    {"memory": -1},
    {"started": float("inf")},
    {"python": "x" * 100_000},
    {"progress": [("a", 1, 2, "")]},
    {"progress": {"a": (1, HUGE, "")}},
    {"progress": {7: (1, 2, "")}},
    {"schedules": 5},
    {"schedules": [("work", "* * * * *")]},
    {"schedules": [tuple(schedule("at teatime"))]},
    {"schedules": [tuple(schedule("* * * * *", timezone="Mars/Olympus"))]},
    {"schedules": [tuple(schedule("* * * * *", payload="text"))]},
]


@pytest.mark.parametrize(("field", "value"), WRONG_FIELDS, ids=lambda value: ascii(value)[:20] if value is not HUGE else "huge")
def test_a_task_with_a_field_that_makes_no_sense_is_refused_with_its_batch(harness: Harness, field: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=NAMES.get(field, field)):
        harness.queue._call("submit", [tuple(GOOD), tuple(GOOD._replace(prefix="bad")._replace(**{field: value}))])
    assert harness.queue.stats()["ready"] == 0


def calls() -> Iterator[tuple[Any, ...]]:
    good = ("a", -1, 1, "done", [b""], "", -1.0, False)
    wrong_outcomes = [
        *((0, value) for value in NO_TEXT),
        *((1, value) for value in (-2, "1", None, 1.0, True, HUGE)),
        *((2, value) for value in ("1", None, 1.0, True)),
        *((3, value) for value in NO_KIND),
        *((4, value) for value in ([], None, b"x", ["text"], [None], [bytearray(b"x")], [b"x", b"y"])),
        *((5, value) for value in (None, 7, b"x")),
        *((6, value) for value in ("1", None, float("nan"), float("inf"), HUGE, True)),
        *((7, value) for value in ("yes", None, 0, 1, HUGE)),
    ]
    for index, value in wrong_outcomes:
        yield "settle", "s", [(*good[:index], value, *good[index + 1 :])]
    for batch in NO_BATCH:
        yield "submit", batch
        yield "settle", "s", batch
    for text in NO_TEXT:
        yield "settle", text, []
        yield "heartbeat", text, {}
        yield "leave", text
        yield "lease", text, 1, 0, None
        yield "results", text, 0, 10, 0
        yield "forget", text
        if text is not None:
            yield "find", text, None, 10, 0, None, None
            yield "find", "ready", text, 10, 0, None, None
            yield "find", "ready", None, 10, 0, text, None
            yield "find", "ready", None, 10, 0, None, text
            yield "retry_all", text, None, None
            yield "retry_all", None, text, None
            yield "retry_all", None, None, text
            yield "running", text, 10
            yield "jobs", text, 10, 0
            yield "lease", "s", 1, 0, [text]
        yield "cancel", [text]
        yield "attempts", [text]
        yield "drain", [text]
        yield "retry", [text]
        yield "backup", text, 0, 1
        yield "show", [text], True
    for names in (7, "a", {"a": 1}, {1}):
        yield "cancel", names
        yield "attempts", names
        yield "drain", names
        yield "retry", names
        yield "show", names, True
        yield "lease", "s", 1, 0, names
    for switch in (None, 1, "yes"):
        yield "show", ["a"], switch
        yield "pause", switch
    for count in NO_COUNT:
        yield "lease", "s", count, 0, None
        yield "results", "job", count, 10, 0
        yield "results", "job", 0, count, 0
        yield "find", "ready", None, count, 0, None, None
        yield "find", "ready", None, 10, count, None, None
        yield "running", None, count
        yield "jobs", None, count, 0
        yield "jobs", None, 10, count
        yield "backup", "t", count, 1
        yield "backup", "t", 0, count
    for job in NO_JOB:
        yield "find", "ready", job, 10, 0, None, None
        yield "running", job, 10
        yield "jobs", job, 10, 0
    yield "lease", "s", 0, 0, None
    yield "backup", "t", 0, 0
    for info in NO_INFO:
        yield "heartbeat", "s", info


@pytest.mark.parametrize("call", list(calls()), ids=lambda call: call[0])
def test_a_call_with_arguments_that_make_no_sense_is_refused(harness: Harness, call: tuple[Any, ...]) -> None:
    harness.queue.submit([task("a", name="nobody knows it")])
    with pytest.raises(BadRequest):
        harness.queue._call(*call)
    still_serves(harness, "a")


def test_a_cause_may_say_anything_and_is_cut(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b")])
    a, b = harness.queue.lease("s", 10, 0)
    assert harness.queue.settle("s", [failed(a, "exception: \ud800"), failed(b, "exception: " + "x" * 100_000)]) == 2
    short, long = (result.cause for result in harness.queue.results("job", 0, 10, 0))
    assert short == "exception: \\ud800"
    assert len(long) == 10_000


def still_serves(harness: Harness, *expected: str) -> None:
    """All that depends on what was told earlier still works."""
    for _ in range(3):
        harness.queue.heartbeat("good", {"host": "h", "slots": 1, "busy": 0, "tasks": ["work", "nobody knows it"]})
        harness.advance(LEASE_TIME * 0.4)
    assert len(harness.queue.workers()) >= 1
    assert tuple(found.id for found in harness.queue.find("ready", None, 100, 0)) == expected
    leases = harness.queue.lease("good", 100, 0)
    assert harness.queue.settle("good", [done(lease) for lease in leases]) == len(expected)


def test_finding_reaches_as_far_as_numbers_go(harness: Harness) -> None:
    harness.queue.submit([task("a"), task("b")])
    harness.queue.lease("s", 1, 0)
    for state in ("ready", "leased", None):
        assert harness.queue.find(state, None, 2**63 - 1, 2**63 - 1) == []
    assert harness.queue.jobs(None, 2**63 - 1, 2**63 - 1) == harness.queue.jobs("job", 2**63 - 1, 2**63 - 1) == []
    assert len(harness.queue.running(None, 2**63 - 1)) == 1
    assert [found.id for found in harness.queue.find("ready", None, 2**63 - 1, 0)] == ["b"]
    assert harness.queue.results("job", 2**63 - 1, 2**63 - 1, 0) == []


@pytest.mark.parametrize("wait", [None, "1", -1, float("nan"), HUGE * -1, [1], True], ids=lambda wait: str(type(wait)))
def test_a_wait_that_is_no_time_is_refused_at_the_port(manager: Harness, wait: Any) -> None:
    queue = manager.queue
    for call in (("lease", "s", 1, wait, None), ("results", "job", 0, 1, wait)):
        with pytest.raises(BadRequest, match="wait"):
            queue._call(*call)


@pytest.mark.parametrize(
    "verb", ["shutdown", "tick", "commit", "rollback", "closed", "_end", "__class__", None, ["submit"], 7, ""]
)
def test_no_other_method_can_be_reached(manager: Harness, verb: Any) -> None:
    queue = manager.queue
    for args in ((), ("a",), ("a", "b")):
        with pytest.raises(BadRequest, match="no verb"):
            queue._call(verb, *args)


plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.binary(max_size=5)
    | st.sampled_from(
        [
            "s",
            "a",
            "job",
            "ready",
            "leased",
            "done",
            "host",
            "slots",
            "busy",
            "tasks",
            "draining",
            "work",
            "progress",
            "schedules",
        ]
    ),
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.tuples(inner, inner)
        | st.dictionaries(
            st.sampled_from(["host", "slots", "busy", "tasks", "draining", "python", "progress", "schedules"])
            | st.text(max_size=2),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)
any_call = st.sampled_from(sorted(ARGUMENTS)).flatmap(
    lambda verb: st.tuples(st.just(verb), *[plain] * ARGUMENTS[verb]).filter(lambda call: call[0] not in ("lease", "results"))
)
any_poll = st.tuples(st.just("lease"), plain, plain, st.just(0), plain) | st.tuples(
    st.just("results"), plain, plain, plain, st.just(0)
)


@pytest.fixture(scope="module", params=KINDS)
def lasting(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    harness = Harness(Path(tmp_path_factory.mktemp("queue")), request.param)
    yield harness
    harness.end()


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(call=any_call | any_poll)
def test_arbitrary_plain_data_is_answered_and_the_queue_goes_on(lasting: Harness, call: tuple[Any, ...]) -> None:
    queue: RemoteQueue = lasting.queue
    try:
        queue._call(*call)
    except (BadRequest, PayloadTooLarge):
        pass
    except TaskyardError as error:
        raise AssertionError(f"neither an answer nor a refusal: {error!r}") from error
    lasting.advance(LEASE_TIME * 0.6)
    queue.workers()
    queue.submit([task("probe", priority=2**31 - 1)])
    assert queue.find("ready", "job", 1, 0)[0].id == "probe"
    queue.cancel(["probe"])
    queue.forget("job")
