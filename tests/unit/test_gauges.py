"""Samples of what the queue did: each thing counted once, however the clock goes, and made coarser with age, never lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from master.gauges import MOST_KINDS, OTHERS, SAMPLE_SECONDS, THIN_SECONDS, TIERS, Gauges, Levels
from master.store import Store

NOW = 1_700_000_000.0
DAY = 86400.0
QUIET = Levels(0, 0, 0, 1)
KEPT = TIERS[-1][0]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path)
    yield made
    made.close()


def look(store: Store, gauges: Gauges, wall: float, levels: Levels = QUIET) -> None:
    """As the engine does once in a while."""
    if gauges.is_due(wall):
        gauges.sample(wall, levels)
        store.commit()
        gauges.keep()


def done(gauges: Gauges, many: int = 1, seconds: float = 1.0) -> None:
    gauges.count("work", "done", many)
    gauges.count("work", "run", many, seconds)
    gauges.keep()


def rows(store: Store) -> int:
    return int(store.rows("SELECT count(*) FROM sample")[0][0])


def test_what_is_counted_is_in_the_sample_of_its_time(store: Store) -> None:
    gauges = Gauges(store)
    look(store, gauges, NOW)
    done(gauges, 3)
    look(store, gauges, NOW + 10, Levels(1, 2, 3, 4))
    (sample,) = gauges.history(0.0, 0.0, NOW + 10)
    assert (sample.at, sample.seconds) == (NOW + 10, SAMPLE_SECONDS)
    assert sample[2:10] == (1, 2, 3, 4, 0, 3, 0, 0)
    assert (sum(sample.run), sum(sample.wait)) == (3, 0)


def test_while_nothing_changes_nothing_is_written(store: Store) -> None:
    gauges = Gauges(store)
    for step in range(100):
        look(store, gauges, NOW + 10 * step)
    assert rows(store) == 1, "the first tells how things were"


def test_a_turn_that_is_taken_back_counts_nothing_and_a_sample_that_had_no_room_is_part_of_the_next(store: Store) -> None:
    gauges = Gauges(store)
    look(store, gauges, NOW)
    gauges.count("work", "done", 5)
    gauges.undo()
    done(gauges, 2)
    gauges.sample(NOW + 10, QUIET)
    store.rollback()
    gauges.undo()
    look(store, gauges, NOW + 20)
    assert [sample.done for sample in gauges.history(0.0, 0.0, NOW + 20)] == [2]
    assert [kind.done for kind in gauges.kinds()] == [2]


def test_samples_outlive_the_program(store: Store) -> None:
    gauges = Gauges(store)
    look(store, gauges, NOW)
    done(gauges)
    look(store, gauges, NOW + 10)
    assert Gauges(store).history(0.0, 0.0, NOW + 10) == gauges.history(0.0, 0.0, NOW + 10) != []


def test_what_was_counted_before_a_stop_and_after_the_next_start_is_one_sample_once_its_time_is_over(store: Store) -> None:
    begin = NOW - NOW % 60
    first = Gauges(store)
    look(store, first, begin)
    done(first, 2)
    first.sample_the_rest(begin + 3, QUIET)
    store.commit()
    second = Gauges(store)
    look(store, second, begin + 5)
    done(second, 1)
    for step in (0.0, 60.0):
        assert second.history(0.0, step, begin + 9) == second.history(0.0, step, begin + 60.1) == [], "its last sample is to come"
    look(store, second, begin + 10)
    assert [(sample.at - begin, sample.seconds, sample.done) for sample in second.history(0.0, 0.0, begin + 10)] == [(10, 10, 3)]
    look(store, second, begin + 61)
    assert [(sample.at - begin, sample.done) for sample in second.history(0.0, 60.0, begin + 61)] == [(60, 3)]


def test_a_stop_writes_nothing_where_nothing_was_counted(store: Store) -> None:
    gauges = Gauges(store)
    gauges.sample_the_rest(NOW, QUIET)
    assert rows(store) == 0


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 10, 10, 60, 600, 7000, 80_000, -10, -4000]), st.integers(0, 3)), max_size=60))
def test_nothing_is_counted_twice_or_lost_while_it_is_kept_however_the_clock_goes(steps: list[tuple[int, int]]) -> None:
    with TemporaryDirectory() as folder, closing(Store(Path(folder))) as fresh:
        gauges, wall, total = Gauges(fresh), NOW, 0
        first = last = wall
        look(fresh, gauges, wall)
        for seconds, many in steps:
            done(gauges, many) if many else None
            total += many
            wall = max(NOW - DAY, wall + seconds)
            first, last = min(first, wall), max(last, wall)
            look(fresh, gauges, wall)
        done(gauges)
        look(fresh, gauges, last + SAMPLE_SECONDS)
        look(fresh, gauges, last + SAMPLE_SECONDS + 600.0)  # now the longest step is over too
        if last - first < KEPT - DAY:
            for step in (0.0, 60.0, 600.0):
                told = gauges.history(0.0, step, last + 10 * DAY)
                assert sum(sample.done for sample in told) == sum(sum(sample.run) for sample in told) == total + 1
                assert [sample.at for sample in told] == sorted({sample.at for sample in told})


def test_older_samples_are_coarser_and_their_number_is_bounded(store: Store) -> None:
    gauges = Gauges(store)
    for step in range(int(3 * DAY / SAMPLE_SECONDS)):
        done(gauges)
        look(store, gauges, NOW + step * SAMPLE_SECONDS)
    now = NOW + 3 * DAY
    lengths = {sample.seconds: sample for sample in gauges.history(0.0, 0.0, now)}
    assert set(lengths) == {10.0, 60.0, 600.0}
    assert rows(store) < 720 + 1320 + 2 * 144 + 3 * THIN_SECONDS / SAMPLE_SECONDS


def test_what_is_too_old_is_deleted(store: Store) -> None:
    gauges = Gauges(store)
    look(store, gauges, NOW)
    done(gauges)
    look(store, gauges, NOW + 10)
    done(gauges, 2)
    look(store, gauges, NOW + KEPT + DAY)
    assert [sample.done for sample in gauges.history(0.0, 0.0, NOW + KEPT + DAY)] == [2]


def test_a_step_is_told_once_it_is_over(store: Store) -> None:
    gauges = Gauges(store)
    begin = NOW - NOW % 60
    look(store, gauges, begin)
    for second in range(10, 130, 10):
        done(gauges)
        look(store, gauges, begin + second)
    told = gauges.history(begin, 60.0, begin + 119)
    assert [(sample.at - begin, sample.seconds, sample.done) for sample in told] == [(60, 60, 6)]


def test_names_beyond_a_bound_are_counted_together(store: Store) -> None:
    gauges = Gauges(store)
    for number in range(MOST_KINDS + 50):
        gauges.count(f"made up {number}", "submitted", 2)
    gauges.keep()
    kinds = {kind.name: kind.submitted for kind in gauges.kinds()}
    assert len(kinds) == MOST_KINDS + 1
    assert kinds[OTHERS] == 100
