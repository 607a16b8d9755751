"""Numbers, values and plots as the page tells them."""

from __future__ import annotations

import json

import pytest

from dashboard.page import charts, values, words
from dashboard.page.charts import PLOTS, RANGES, Range
from dashboard.page.look import COLOURS, ICONS
from taskyard.calls import pack_function, pack_many, pack_retry_on, pack_values
from taskyard.codec import encode, encode_error, encode_json
from taskyard.histogram import EMPTY, bucket
from taskyard.model import STATES, Details, Running, Sample


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (0, "0 s"),
        (0.00123, "1.2 ms"),
        (0.25, "250 ms"),
        (3.42, "3.4 s"),
        (42.4, "42 s"),
        (125, "2 min 5 s"),
        (3600, "1 h"),
        (3780, "1 h 3 min"),
        (100_000, "1 d 3 h"),
    ],
)
def test_durations_have_two_units_at_most(seconds: float, told: str) -> None:
    assert words.duration(seconds) == told


@pytest.mark.parametrize(("count", "told"), [(0, "0"), (7.0, "7"), (0.034, "0.034"), (6.25, "6.2"), (1_234_567, "1,234,567")])
def test_numbers_are_as_exact_as_is_of_use(count: float, told: str) -> None:
    assert words.number(count) == told


@pytest.mark.parametrize(
    ("done", "total", "percent", "told"),
    [
        (3, 9, 100 / 3, "3 of 9"),
        (12, 9, 100, "12 of 9"),
        (1e299, 1e-10, 100, "1e+299 of 1e-10"),
        (-5, 9, 0, "-5 of 9"),
        (5, -2, 0, ""),
        (5, 0, 0, ""),
    ],
)
def test_whatever_a_task_tells_of_its_progress_is_a_share_of_all(done: float, total: float, percent: float, told: str) -> None:
    assert words.percent(done, total) == pytest.approx(percent)
    assert words.progress(Running("a", "job", "work", "worker", 1, 1.0, done, total, "")) == told


@pytest.mark.parametrize(("count", "told"), [(0, "0 B"), (999, "999 B"), (1400, "1.4 kB"), (180e6, "180 MB"), (3e15, "3000 TB")])
def test_sizes_are_told_in_a_unit_that_fits(count: float, told: str) -> None:
    assert words.size(count) == told


def details(payload: bytes = b"", value: bytes = b"", state: str = "done") -> Details:
    times = (1.0, 0.0, 0.0, 2.0, 3.0)
    return Details("a", "job", "work", state, 0, 1, "", *times, 0, 1.0, 0.0, payload, value, "")  # type: ignore[arg-type]


def test_a_call_is_told_as_it_would_be_written() -> None:
    assert values.call_of(details(encode((("x", 7), {"width": [1, None]})))) == "work('x', 7, width=[1, None])"
    assert values.call_of(details(encode_json([[True], {}]))) == "work(True)"
    assert values.call_of(details(pack_retry_on(["OSError"], encode(((1,), {}))))) == "work(1)"
    assert values.call_of(details()) == ""


def test_what_is_no_plain_data_is_told_by_its_size_and_never_unpickled() -> None:
    evil = b"pcos\nsystem\n(S'false'\ntR."
    for payload in (evil, pack_function(b"code", encode(((), {}))), pack_many([encode(((1,), {}))]), b"", b"?", b"p", b"j{"):
        told = values.call_of(details(payload))
        assert (told == "") == (payload == b"")
        assert not payload or told.startswith(f"{len(payload)} B, not shown: "), told
    assert values.result_of(details(value=evil)).startswith(f"{len(evil)} B, not shown: ")
    assert "taskyard.Cluster(url).job('job').results()" in values.result_of(details(value=evil))


def test_results_are_told_as_json_and_text_as_it_is() -> None:
    assert values.result_of(details(value=encode("two\nlines"))) == "two\nlines"
    assert json.loads(values.result_of(details(value=encode({"a": (1, 2.5)})))) == {"a": [1, 2.5]}
    assert json.loads(values.result_of(details(value=pack_values(0.1, [1, 4, 9])))) == [1, 4, 9]
    assert values.result_of(details(value=encode("x" * 30_000))) == "x" * 20_000 + "\n… and 10,000 characters more"


def test_a_traceback_is_the_text_that_came_with_the_failure() -> None:
    try:
        raise ValueError("no")
    except ValueError as error:
        value = encode_error(error)
    assert values.traceback_of(details(value=value, state="failed")).endswith("ValueError: no\n")
    assert values.traceback_of(details(value=b"pjunk", state="failed")) == ""


def sample(at: float, done: int = 0, ready: int = 0, wait: float = 0.0) -> Sample:
    counts = list(EMPTY)
    counts[bucket(wait)] += bool(wait)
    return Sample(at, 10.0, ready, 1, 0, 1, done, done, 0, 0, tuple(counts), EMPTY)


def test_where_no_sample_was_kept_levels_stay_and_nothing_happened() -> None:
    grid = charts.on_grid([sample(1010, 5, 3), sample(1040, 7, 2)], Range("", 50, 10), 1053.5)
    assert [one.at for one in grid] == [1010, 1020, 1030, 1040, 1050]
    assert [one.done for one in grid] == [5, 0, 0, 7, 0]
    assert [one.ready for one in grid] == [3, 3, 3, 2, 2]


def test_samples_of_one_step_count_together() -> None:
    samples = [sample(1020, 5, 3, 0.5), sample(1030, 7, 2, 0.5), sample(1050, 1, 9)]
    grid = charts.on_grid(samples, Range("", 60, 30), 1055)
    assert [(one.at, one.done, one.ready, sum(one.wait)) for one in grid] == [(1020, 5, 3, 1), (1050, 8, 9, 1)]


def test_every_plot_of_every_range_has_a_point_for_each_step_and_can_be_sent() -> None:
    for shown in RANGES.values():
        grid = charts.on_grid([sample(1_700_000_000, 9, 4, 0.3)], shown, 1_700_000_100)
        for plot in PLOTS:
            drawn = json.loads(json.dumps(charts.options(plot, grid), allow_nan=False))
            assert {len(series["data"]) for series in drawn["series"]} == {round(shown.span / shown.step)}


def test_each_state_has_a_colour_a_shape_and_a_name_of_its_own() -> None:
    assert len(set(COLOURS.values())) == len(set(ICONS.values())) == len(STATES) == len(COLOURS)
    for plot in PLOTS:
        assert len({one.shape for one in plot.series}) == len({one.name for one in plot.series}) == len(plot.series)
