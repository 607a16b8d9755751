"""How a task is to be run: what each option means, and what is refused where it stands."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from master import rules
from taskyard.errors import SettingsError
from taskyard.model import BY_CAUSE, Schedule, Task
from taskyard.options import RETRIES_ON, Options

TIMES = ("backoff", "time_limit", "delay", "expiry", "result_ttl", "every")


def test_without_options_a_task_is_submitted_with_the_defaults_of_the_contract() -> None:
    assert Options(name="add").task("id", "job", b"args") == Task("id", "job", "add", b"args")


def test_each_option_of_a_task_has_its_place_in_it() -> None:
    options = Options(
        name="add", priority=5, retries=2, backoff=3, time_limit=4, delay=6, expiry=7, result_ttl=8, retry_on=OSError
    )
    assert options.task("id", "job", b"args") == Task(
        "id", "job", "add", b"args", priority=5, delay=6.0, retries=2, backoff=3.0, time_limit=4.0, result_ttl=8.0, expiry=7.0
    )


@pytest.mark.parametrize("name", TIMES)
def test_times_are_seconds_or_timedeltas(name: str) -> None:
    by_seconds, by_delta = Options().changed(**{name: 90}), Options().changed(**{name: timedelta(minutes=1.5)})
    assert by_seconds == by_delta
    assert getattr(by_delta, name) == 90.0


@pytest.mark.parametrize("name", TIMES)
@pytest.mark.parametrize("value", [-1, timedelta(seconds=-1), float("nan"), float("inf"), "5", None, True, 1e10])
def test_what_is_no_time_is_refused_by_the_options_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}=.*: expected seconds, zero or more, or a timedelta"):
        Options(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("priority", 1.0),
        ("priority", True),
        ("retries", "3"),
        ("retries", None),
        ("name", 7),
        ("key", b"key"),
        ("cron", 5),
        ("timezone", UTC),
        ("retry_on", 5),
        ("retry_on", "OSError"),
        ("retry_on", (OSError, "KeyError")),
        ("retry_on", (OSError, int)),
        ("at", "tomorrow"),
        ("missed", "some"),
    ],
)
def test_what_makes_no_sense_is_refused_by_the_options_name(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^{name}=.*: expected "):
        Options(**{name: value})


def test_options_are_laid_over_others_and_checked_again() -> None:
    options = Options(name="add", retries=3, priority=1)
    assert options.changed(priority=2, delay=5) == Options(name="add", retries=3, priority=2, delay=5)
    assert options.priority == 1
    with pytest.raises(SettingsError, match="delay"):
        options.changed(delay=-1)
    with pytest.raises(TypeError, match="dealy"):
        options.changed(dealy=5)


# When


def test_a_moment_to_begin_at_is_a_delay_from_the_submit() -> None:
    soon = Options(at=datetime.now(UTC) + timedelta(hours=1)).task("id", "job", b"")
    assert 3590 < soon.delay <= 3600
    local = Options(at=datetime.fromtimestamp(time.time() + 3600)).task("id", "job", b"")
    assert 3590 < local.delay <= 3600
    assert Options(at=datetime(2000, 1, 1, tzinfo=UTC)).task("id", "job", b"").delay == 0


def test_a_delay_beside_a_moment_is_refused() -> None:
    with pytest.raises(SettingsError, match="not both"):
        Options(at=datetime.now(UTC), delay=5)


# Which exceptions


def test_exceptions_that_are_worth_another_attempt_mean_some_attempts() -> None:
    assert (Options().retries, Options().retry_names()) == (BY_CAUSE, None)
    one, two = Options(retry_on=OSError), Options(retry_on=(OSError, SettingsError), retries=1)
    assert (one.retries, one.retry_names()) == (RETRIES_ON, ("OSError",))
    assert (two.retries, two.retry_names()) == (1, ("OSError", "taskyard.errors.SettingsError"))


# Periodic ones


def test_a_task_without_a_rhythm_is_not_announced() -> None:
    assert Options(name="add").schedule(b"") is None


def test_a_periodic_task_is_announced_with_its_options() -> None:
    options = Options(
        name="report", cron="0 3 * * *", timezone="Europe/Berlin", missed="all", priority=1, retries=2, backoff=3, time_limit=4,
        result_ttl=5, expiry=6,
    )  # fmt: skip
    announced = options.schedule(b"args")
    assert announced == Schedule("report", "0 3 * * *", "Europe/Berlin", "all", b"args", 1, 2, 3.0, 4.0, 5.0, 6.0)
    assert rules.read_schedules([announced], 100) == [announced]


@pytest.mark.parametrize(
    ("every", "spec"),
    [(90, "every 90"), (timedelta(days=30), "every 2592000"), (1234567.5, "every 1234567.5"), (1.1, "every 1.1")],
)
def test_an_interval_is_announced_to_the_second_and_its_parts(every: Any, spec: str) -> None:
    announced = Options(name="beat", every=every).schedule(b"")
    assert announced is not None
    assert announced.spec == spec


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"cron": "* * * *"}, "Wrong number of fields"),
        ({"cron": "0 25 * * *"}, "Bad hour"),
        ({"cron": "* * * * *", "timezone": "Mars/Olympus"}, "no such time zone"),
        ({"every": 0.5}, "1 or more"),
        ({"every": 60, "cron": "* * * * *"}, "not both"),
    ],
)
def test_a_rhythm_that_makes_no_sense_is_refused_where_it_stands(options: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        Options(**options)
