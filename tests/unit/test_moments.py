"""The moments of cron lines and intervals: the right ones, each once, whenever one asks."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import islice, takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskyard.errors import SettingsError
from taskyard.moments import check, moments

CRONS = ["* * * * *", "*/7 * * * *", "0 * * * *", "30 2 * * *", "50 2 * * *", "15 1,2,3 * * *", "0 0 1 * *", "0 12 * * MON-FRI"]
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu"]
SPRING, AUTUMN = "2024-03-30", "2024-10-26"
"""The days before the clocks of Berlin are changed."""


def epoch(moment: str) -> float:
    return datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()


def first(spec: str, timezone: str, after: str, many: int) -> list[str]:
    found = islice(moments(spec, timezone, epoch(after)), many)
    return [datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S") for moment in found]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("* * * * *", ["2024-05-07 10:21:00", "2024-05-07 10:22:00"]),
        ("*/15 * * * *", ["2024-05-07 10:30:00", "2024-05-07 10:45:00"]),
        ("0 9-17/4 * * *", ["2024-05-07 13:00:00", "2024-05-07 17:00:00"]),
        ("0 0 29 2 *", ["2028-02-29 00:00:00", "2032-02-29 00:00:00"]),
        ("30 8 * * SUN", ["2024-05-12 08:30:00", "2024-05-19 08:30:00"]),
        ("0 0 13 * FRI", ["2024-05-10 00:00:00", "2024-05-13 00:00:00"]),  # cron's own: one of the two days is enough
        ("every 3600", ["2024-05-07 11:00:00", "2024-05-07 12:00:00"]),
        ("every 7.5", ["2024-05-07 10:20:37", "2024-05-07 10:20:45"]),
    ],
)
def test_the_next_moments_are_those_that_the_line_says(spec: str, expected: list[str]) -> None:
    assert first(spec, "UTC", "2024-05-07T10:20:30", 2) == expected


def test_a_moment_itself_is_not_behind_itself() -> None:
    assert first("20 10 * * *", "UTC", "2024-05-07T10:20", 1) == ["2024-05-08 10:20:00"]
    assert first("every 60", "UTC", "2024-05-07T10:20", 1) == ["2024-05-07 10:21:00"]


def test_cron_is_read_in_its_time_zone() -> None:
    assert first("0 3 * * *", "Asia/Kathmandu", "2024-05-07T00:00", 1) == ["2024-05-07 21:15:00"]


@pytest.mark.parametrize(
    ("spec", "day", "expected"),
    [
        ("30 2 * * *", SPRING, ["2024-03-31 01:00:00", "2024-04-01 00:30:00"]),  # 02:30 is not there: at three
        ("30 2 * * *", AUTUMN, ["2024-10-27 00:30:00", "2024-10-28 01:30:00"]),  # 02:30 is there twice: the first
        ("0 2,4 * * *", AUTUMN, ["2024-10-27 00:00:00", "2024-10-27 03:00:00", "2024-10-28 01:00:00"]),
        (
            "59 * * * *",
            AUTUMN,
            [f"2024-10-26 {hour}:59:00" for hour in (22, 23)] + ["2024-10-27 00:59:00", "2024-10-27 01:59:00"],
        ),
    ],
)
def test_when_clocks_are_changed_a_job_between_two_and_three_runs_once(spec: str, day: str, expected: list[str]) -> None:
    assert first(spec, "Europe/Berlin", f"{day}T21:59:30", len(expected)) == expected


@settings(deadline=None)
@given(
    spec=st.sampled_from(CRONS),
    timezone=st.sampled_from(ZONES),
    day=st.sampled_from([SPRING, AUTUMN, "2024-03-09", "2024-11-02", "2024-04-06", "2024-10-05", "2024-12-31"]),
    seconds=st.floats(0, 2 * 86400) | st.integers(0, 2 * 24 * 60).map(lambda minutes: minutes * 60.0),
)
def test_whenever_one_asks_the_moments_are_the_same(spec: str, timezone: str, day: str, seconds: float) -> None:
    start = epoch(day)
    whole = list(takewhile(lambda moment: moment < start + 4 * 86400, moments(spec, timezone, start)))
    assert whole == sorted(set(whole))
    part = [moment for moment in whole if moment > start + seconds]
    assert list(islice(moments(spec, timezone, start + seconds), len(part))) == part


@given(interval=st.floats(1, 1e6), number=st.integers(0, 10**7))
def test_an_interval_goes_on_behind_each_of_its_moments(interval: float, number: int) -> None:
    moment, following = islice(moments(f"every {interval}", "UTC", number * interval), 2)
    assert number * interval < moment < following
    assert moment == (number + 1) * interval


def test_whoever_asks_means_the_same_multiples_of_an_interval() -> None:
    assert first("every 420", "UTC", "2024-05-07T10:20", 1) == first("every 420", "UTC", "2024-05-07T10:24:30", 1)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("", "Wrong number of fields"),
        ("* * * *", "Wrong number of fields"),
        ("* * * * * *", "Wrong number of fields"),
        ("@daily", "Wrong number of fields"),
        ("60 * * * *", "Bad minute"),
        ("* 24 * * *", "Bad hour"),
        ("* * 0 * *", "Bad day-of-month"),
        ("* * * 13 *", "Bad month"),
        ("* * * * MONDAY", "Bad day-of-week"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("*/0 * * * *", "Bad minute"),
        ("every", "expected a number of seconds, 1 or more"),
        ("every day", "expected a number of seconds"),
        ("every 0.9", "expected a number of seconds"),
        ("every -60", "expected a number of seconds"),
        ("every nan", "expected a number of seconds"),
        ("every inf", "expected a number of seconds"),
    ],
)
def test_a_line_that_makes_no_sense_is_refused_in_words(spec: str, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        check(spec, "UTC")


@pytest.mark.parametrize("timezone", ["", "Mars/Olympus", "Europe", "/etc/localtime", "../UTC", "UTC\0", "\ud800", "x" * 300])
def test_a_time_zone_that_is_not_there_is_refused_with_what_is_expected(timezone: str) -> None:
    with pytest.raises(SettingsError, match="no such time zone; expected one like Europe/Berlin"):
        check("* * * * *", timezone)


@settings(max_examples=300)
@given(st.lists(st.text("0123456789*,-/#LW?MONJAN", min_size=1, max_size=6), min_size=5, max_size=5).map(" ".join))
def test_whatever_a_line_says_it_is_taken_or_refused_in_words(spec: str) -> None:
    try:
        check(spec, "Europe/Berlin")
    except SettingsError:
        pass  # anything else fails this test
