"""What a failed attempt leads to, and what is refused of what comes from the wire."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master import rules
from taskyard.errors import BadRequest, PayloadTooLarge
from taskyard.model import BACKOFF_LIMIT, BY_CAUSE, CAUSES, Outcome
from taskyard.series import OutcomeSeries, TaskSeries, from_outcomes, from_tasks
from tests.harness import schedule, task

LIMIT = 1000
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)
"""What can come from the wire."""

# After a failed attempt


@pytest.mark.parametrize(
    ("retries", "attempts", "cause", "expected"),
    [
        (BY_CAUSE, 1, "exception: ValueError: no", False),
        (BY_CAUSE, 1, "unknown task: no worker knows it", False),
        (BY_CAUSE, 1, "cancelled", False),
        (BY_CAUSE, 2, "signal: SIGSEGV (11)", True),
        (BY_CAUSE, 3, "signal: SIGSEGV (11)", False),
        (BY_CAUSE, 2, "worker lost: it was running this task alone", True),
        (BY_CAUSE, 3, "worker lost: it was running this task alone", False),
        (0, 1, "out of memory: killed by the kernel", False),
        (3, 3, "exception: ValueError: no", True),
        (3, 4, "exception: ValueError: no", False),
        (1, 1, "time limit: still running after 2 s", True),
    ],
)
def test_retries_follow_as_many_as_the_task_says_and_else_by_what_went_wrong(
    retries: int, attempts: int, cause: str, expected: bool
) -> None:
    assert rules.may_retry(retries, attempts, cause) is expected


def test_every_cause_of_the_contract_is_either_an_exceptions_or_a_deaths() -> None:
    again = {cause for cause in CAUSES if rules.may_retry(BY_CAUSE, 1, cause)}
    assert again == {"signal", "out of memory", "time limit", "exit", "worker lost"}


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(1, 2), (2, 4), (3, 8), (8, 256), (9, BACKOFF_LIMIT), (100_000, BACKOFF_LIMIT)]
)
def test_the_pause_doubles_up_to_its_limit_give_or_take_a_tenth(attempts: int, seconds: float) -> None:
    pauses = [rules.pause_before_retry(2.0, attempts) for _ in range(50)]
    assert seconds * 0.9 <= min(pauses) < max(pauses) <= seconds * 1.1


@given(st.floats(0, 1e10), st.integers(1, 2**40))
def test_no_pause_is_longer_than_its_limit_or_shorter_than_the_one_before(backoff: float, attempts: int) -> None:
    least, most = backoff * 2.0 ** min(attempts - 2, 60), BACKOFF_LIMIT
    assert 0.9 * min(least, most) <= rules.pause_before_retry(backoff, attempts) <= 1.1 * most


@given(st.integers(0, 50), st.sampled_from(CAUSES))
def test_a_task_is_tried_once_and_then_as_often_as_it_says_whatever_goes_wrong(retries: int, cause: str) -> None:
    tried = next(attempts for attempts in range(1, 100) if not rules.may_retry(retries, attempts, cause))
    assert tried == 1 + retries


def test_a_task_without_backoff_is_tried_again_at_once() -> None:
    assert rules.pause_before_retry(0.0, 5) == 0.0


# Tasks


def test_a_task_of_the_widest_values_is_taken() -> None:
    widest = task("ü" * 200, priority=-(2**31), retries=2**31 - 1, delay=1e9, payload=b"x" * LIMIT, name="n" * 200)
    (series,) = from_tasks([widest])
    assert rules.read_tasks([series, list(series)], LIMIT) == [series, series]


def test_a_task_of_the_shortest_values_is_taken() -> None:
    shortest = task("i", job="j", name="n", delay=0, backoff=0, time_limit=0, result_ttl=0)
    assert rules.read_tasks(from_tasks([shortest]), LIMIT) == from_tasks([shortest])


def test_the_id_of_a_task_that_comes_alone_may_have_a_number() -> None:
    (series,) = from_tasks([task("a-7", payload=b"x")])
    assert rules.read_tasks([series._replace(prefix="a-7", first=-1)], LIMIT) == [series]


@pytest.mark.parametrize(
    ("prefix", "first", "payloads"),
    [
        ("p", 0, []),
        ("p", -1, [b"", b""]),
        ("p", -2, [b""]),
        ("p", 10**15, [b""]),
        ("p", 10**15 - 1, [b"", b""]),
        pytest.param("p", 10**5000, [b""], id="huge"),
        ("p", 1.0, [b""]),
        ("p", True, [b""]),
        ("p", 0, b"bytes"),
        ("p", 0, {b""}),
        ("p", 0, [b"", None]),
        ("p", 0, [b"", bytearray(b"x")]),
        ("p" * 197, 99, [b"", b""]),
    ],
)
def test_a_series_whose_ids_or_payloads_make_no_sense_is_refused(prefix: Any, first: Any, payloads: Any) -> None:
    with pytest.raises(BadRequest, match=r"^task .*: (a series|id|payload) "):
        rules.read_tasks([(prefix, first, "job", "name", payloads)], LIMIT)
    with pytest.raises(BadRequest, match=r"^outcome of task "):
        rules.read_outcomes([(prefix, first, 1, "done", payloads)], LIMIT)


def test_of_a_series_the_task_whose_payload_is_too_large_is_named() -> None:
    with pytest.raises(PayloadTooLarge, match="task p-8: 1,001 bytes"):
        rules.read_tasks([("p", 7, "job", "name", [b"", b"x" * 1001])], LIMIT)


def wrong_series(field: str, value: Any) -> TaskSeries:
    """A task alone, with a wrong field."""
    field, value = {"id": ("prefix", value), "payload": ("payloads", [value])}.get(field, (field, value))
    return TaskSeries("wrong", -1, "job", "work", [b""])._replace(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("id", "i" * 201),
        ("id", 7),
        ("id", "\ud800"),
        ("job", None),
        ("name", b"bytes"),
        ("payload", "text"),
        ("payload", None),
        ("priority", 2**31),
        ("priority", 1.0),
        ("priority", True),
        ("retries", -(2**31) - 1),
        ("delay", -1),
        ("delay", float("nan")),
        ("backoff", float("inf")),
        ("time_limit", "10"),
        ("result_ttl", True),
        ("expiry", -1),
        ("expiry", None),
    ],
)
def test_a_task_with_a_wrong_field_is_refused_by_the_fields_name(field: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=f"^task .*: {field} must be "):
        rules.read_tasks([*from_tasks([task("fine")]), wrong_series(field, value)], LIMIT)


@pytest.mark.parametrize("rows", [None, "ab", {}, [None], [7], [("a",)], [tuple(range(13))]])
def test_what_is_no_list_of_tasks_is_refused_in_words(rows: Any) -> None:
    with pytest.raises(BadRequest, match="must be a"):
        rules.read_tasks(rows, LIMIT)


def test_a_payload_over_the_bound_is_refused_with_what_to_do_instead() -> None:
    with pytest.raises(PayloadTooLarge, match=r"task big: 1,001 bytes .*MASTER_PAYLOAD_LIMIT.*pass its address"):
        rules.read_tasks(from_tasks([task("big", payload=b"x" * (LIMIT + 1))]), LIMIT)


def test_a_refusal_does_not_print_what_it_refuses_at_length() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for wrong in ("i" * 10**6, 10**5000, endless):
        with pytest.raises(BadRequest) as refused:
            rules.read_tasks([wrong_series("id", wrong)], LIMIT)
        assert len(str(refused.value)) < 400


@settings(max_examples=50, deadline=None)
@given(PLAIN | st.lists(st.tuples(*[PLAIN] * 5)))
def test_whatever_comes_is_either_taken_or_refused_in_words(rows: Any) -> None:
    for read in (rules.read_tasks, rules.read_outcomes):
        try:
            assert len(read(rows, LIMIT)) == len(rows)
        except (BadRequest, PayloadTooLarge):
            pass  # anything else fails this test


# Outcomes


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("prefix", None),
        ("prefix", "\ud800"),
        ("token", "1"),
        ("token", True),
        ("kind", "lost"),
        ("kind", []),
        ("values", ["text"]),
        ("cause", b"bytes"),
        ("delay", float("nan")),
        ("delay", float("inf")),
        ("delay", "1"),
        ("delay", True),
        ("final", 1),
        ("final", None),
    ],
)
def test_an_outcome_with_a_wrong_field_is_refused(field: str, value: Any) -> None:
    with pytest.raises(BadRequest, match=r"^outcome of task "):
        rules.read_outcomes([OutcomeSeries("a", -1, 1, "done", [b""])._replace(**{field: value})], LIMIT)


def test_a_value_over_the_bound_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="task a: 1,001 bytes"):
        rules.read_outcomes(from_outcomes([Outcome("a", 1, "done", b"x" * (LIMIT + 1))]), LIMIT)


@pytest.mark.parametrize(
    ("cause", "kept"),
    [("exception: \ud800", "exception: \\ud800"), ("c" * 20_000, "c" * rules.LONGEST_CAUSE), ("exception: ü", "exception: ü")],
)
def test_an_odd_cause_is_no_reason_to_refuse_an_outcome(cause: str, kept: str) -> None:
    (read,) = rules.read_outcomes(from_outcomes([Outcome("a", 1, "failed", cause=cause)]), LIMIT)
    assert [read] == from_outcomes([Outcome("a", 1, "failed", cause=kept)])


@given(st.text(st.characters()) | st.text(st.characters(categories=["Cs"])))
def test_what_is_kept_of_a_cause_is_text_that_every_database_takes(cause: str) -> None:
    (read,) = rules.read_outcomes(from_outcomes([Outcome("a", 1, "failed", cause=cause)]), LIMIT)
    assert read.cause.encode().decode() == read.cause
    assert read.cause == cause or any("\ud800" <= letter <= "\udfff" for letter in cause)


def test_a_cause_of_nothing_but_odd_letters_is_no_longer_than_others() -> None:
    (read,) = rules.read_outcomes(from_outcomes([Outcome("a", 1, "failed", cause="\ud800" * 20_000)]), LIMIT)
    assert len(read.cause) <= rules.LONGEST_CAUSE


def test_a_refused_outcome_is_not_printed_at_length() -> None:
    long = OutcomeSeries("i" * 10**6, -1, 1, "done", [b""])
    for wrong in (long._replace(cause=7), long._replace(values=[b"x" * (LIMIT + 1)])):  # type: ignore[arg-type]
        with pytest.raises((BadRequest, PayloadTooLarge)) as refused:
            rules.read_outcomes([wrong], LIMIT)
        assert len(str(refused.value)) < 400


# Single values


def test_names_and_numbers_are_read_as_they_are() -> None:
    assert rules.read_names(("a", "ü"), "ids") == ["a", "ü"]
    assert rules.read_text("", "job") == ""
    assert rules.read_int(2**63 - 1, "limit") == 2**63 - 1


@pytest.mark.parametrize("value", [None, 7, b"bytes", "\ud800", ["a"]])
def test_what_is_no_text_is_refused_with_its_name(value: Any) -> None:
    with pytest.raises(BadRequest, match="job must be text"):
        rules.read_text(value, "job")
    with pytest.raises(BadRequest, match="ids must be text"):
        rules.read_names(["a", value], "ids")


@pytest.mark.parametrize(("value", "least"), [(-1, 0), (0, 1), (2**63, 0), (1.0, 0), (True, 0), ("1", 0), (None, 0)])
def test_a_wrong_number_is_refused_with_its_name_and_bound(value: Any, least: int) -> None:
    with pytest.raises(BadRequest, match=f"limit must be a whole number from {least}"):
        rules.read_int(value, "limit", least)


def test_of_a_workers_info_only_what_is_known_is_kept() -> None:
    told = {
        "host": "h",
        "slots": 2,
        "busy": 1,
        "tasks": ["a"],
        "draining": True,
        "python": "3.13",
        "version": "0.1.0",
        "pid": 7,
        "cpu": 1.5,
        "memory": 1000,
        "started": 1.7e9,
        "schedules": [schedule("* * * * *")],
        "progress": {"a": (1.0, 2.0, "half")},
    }
    assert rules.read_info({**told, "shoe size": 44}, LIMIT) == told
    assert rules.read_info({}, LIMIT) == {
        "host": "",
        "slots": 0,
        "busy": 0,
        "tasks": [],
        "draining": False,
        "python": "",
        "version": "",
        "pid": 0,
        "cpu": 0.0,
        "memory": 0,
        "started": 0.0,
        "schedules": [],
        "progress": {},
    }


@pytest.mark.parametrize(
    "info",
    [
        None,
        [],
        {"host": 7},
        {"host": "h" * 1001},
        {"slots": -1},
        {"busy": "1"},
        {"tasks": "a"},
        {"tasks": [7]},
        {"draining": 1},
        {"python": 3.13},
        {"python": "3" * 201},
        {"schedules": "daily"},
        {"progress": [("a", 1, 2, "")]},
        {"progress": {7: (1, 2, "")}},
        {"progress": {"a": (1, 2)}},
        {"progress": {"a": "123"}},
        {"progress": {"a": (True, 2, "")}},
        {"progress": {"a": (1, float("nan"), "")}},
        {"progress": {"a": (float("inf"), 2, "")}},
        {"progress": {"a": (1, 10**5000, "")}},
        {"progress": {"a": (1, 2, b"note")}},
        {"progress": {"a": (1, 2, "\ud800")}},
        {"progress": {"a": (1, 2, "n" * 201)}},
        {"progress": dict.fromkeys(map(str, range(10_001)), (1, 2, ""))},
    ],
)
def test_a_wrong_info_is_refused(info: Any) -> None:
    with pytest.raises(BadRequest, match="must be"):
        rules.read_info(info, LIMIT)


def test_progress_of_as_many_tasks_as_a_worker_may_hold_is_taken() -> None:
    most = dict.fromkeys(map(str, range(10_000)), (1, 2.5, "n" * 200))
    assert rules.read_info({"progress": most}, LIMIT)["progress"] == most


# Periodic tasks


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", "", "name must be"),
        ("name", "n" * 151, "name must be text of 1 to 150"),
        ("name", 7, "name must be"),
        ("spec", None, "spec must be"),
        ("spec", "* * * *", "Wrong number of fields"),
        ("spec", "* * * * * *", "Wrong number of fields"),
        ("spec", "61 * * * *", "Bad minute"),
        ("spec", "0 0 31 2 *", "Bad day"),
        ("spec", "every 0.5", "1 or more"),
        ("spec", "every now and then", "expected a number of seconds"),
        ("timezone", "", "timezone must be"),
        ("timezone", "Mars/Olympus", "no such time zone"),
        ("timezone", "../../etc/passwd", "no such time zone"),
        ("missed", "some", "missed must be one of latest, all, skip"),
        ("missed", [], "missed must be one of"),
        ("payload", "text", "payload must be bytes"),
        ("priority", 1.0, "priority must be"),
        ("retries", 2**31, "retries must be"),
        ("backoff", -1, "backoff must be"),
        ("time_limit", None, "time_limit must be"),
        ("result_ttl", float("nan"), "result_ttl must be"),
        ("expiry", True, "expiry must be"),
    ],
)
def test_a_periodic_task_with_a_field_that_makes_no_sense_is_refused_by_its_name(field: str, value: Any, why: str) -> None:
    wrong = schedule("* * * * *")._replace(**{field: value})
    for _ in range(2):  # what was found once is remembered
        with pytest.raises(BadRequest, match=f"^periodic task .*{why}"):
            rules.read_schedules([schedule("0 3 * * 1", name="fine"), wrong], LIMIT)


def test_periodic_tasks_come_as_they_were_announced() -> None:
    all_kinds = [
        schedule("0 3 * * 1-5", timezone="Europe/Berlin", missed="all", payload=b"p" * LIMIT),
        schedule("every 90", name="n" * 150, missed="skip"),
    ]
    assert rules.read_schedules([tuple(one) for one in all_kinds], LIMIT) == all_kinds


@pytest.mark.parametrize("rows", [None, "ab", {}, [None], [7], [("a",)], [tuple(range(12))], [schedule("* * * * *")] * 10_001])
def test_what_is_no_list_of_periodic_tasks_is_refused_in_words(rows: Any) -> None:
    with pytest.raises(BadRequest, match=r"must be a|at most 10,000"):
        rules.read_schedules(rows, LIMIT)


def test_a_periodic_tasks_payload_over_the_bound_is_refused() -> None:
    with pytest.raises(PayloadTooLarge, match="task work: 1,001 bytes"):
        rules.read_schedules([schedule("* * * * *", payload=b"x" * (LIMIT + 1))], LIMIT)
