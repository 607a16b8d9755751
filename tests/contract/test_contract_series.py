"""Tasks that came together are kept together, and each of them is still one of its own."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from master.engine import SUSPECT_AFTER
from taskyard.errors import QueueFull
from taskyard.model import Lease, Task
from taskyard.series import LeaseSeries, OutcomeSeries, ResultSeries, TaskSeries
from tests.harness import LEASE_TIME, Harness, done, failed, released, task


def many(first: int, count: int, **fields: object) -> list[Task]:
    return [task(f"t-{n}", **{"payload": b"p%d" % n, **fields}) for n in range(first, first + count)]


def ids(tasks: Sequence[Lease | Task]) -> list[str]:
    return [one.id for one in tasks]


def numbered(*numbers: int) -> list[str]:
    return [f"t-{n}" for n in numbers]


def lease_all(harness: Harness, session: str) -> list[Lease]:
    """In several calls, each of which is given a fair share."""
    leases: list[Lease] = []
    while more := harness.queue.lease(session, 100, 0):
        leases += more
    return leases


def kept_in_series(harness: Harness) -> int:
    """Open tasks that have no row of their own."""
    return int(harness.committer.call(lambda: harness.engine.store.rows("SELECT coalesce(sum(open), 0) FROM series")[0][0]))


def rows_of(harness: Harness, table: str) -> int:
    return int(harness.committer.call(lambda: harness.engine.store.rows(f"SELECT count(*) FROM {table}")[0][0]))


def states(harness: Harness) -> dict[str, list[str]]:
    found = harness.queue.find(None, None, 100, 0)
    return {state: [one.id for one in found if one.state == state] for state in {one.state for one in found}}


def test_a_series_travels_in_one_piece_through_all_of_its_life(harness: Harness) -> None:
    assert harness.queue.submit_series([TaskSeries("t", 0, "job", "work", [b"a", b"b", b"c"], time_limit=5.0)]) == 3
    (lease,) = harness.queue.lease_series("s", 10, 0)
    assert lease == LeaseSeries("t", 0, lease.token, 1, "work", [b"a", b"b", b"c"], 5.0, "job")
    assert harness.queue.settle_series("s", [OutcomeSeries("t", 0, lease.token, "done", [b"A", b"B", b"C"])]) == 3
    assert harness.queue.results_series("job", 0, 10, 0) == [ResultSeries(1, "t", 0, "done", [b"A", b"B", b"C"], "", 1)]
    assert harness.queue.results("job", 1, 1, 0)[0][:4] == (2, "t-1", "done", b"B")


def test_a_series_is_lent_in_parts_and_each_part_goes_on_where_the_last_one_ended(harness: Harness) -> None:
    harness.queue.submit(many(0, 10))
    got = [harness.queue.lease("s", limit, 0) for limit in (1, 3, 4, 100)]
    assert [ids(leases) for leases in got] == [numbered(0), numbered(1, 2, 3), numbered(4, 5, 6, 7), numbered(8, 9)]
    assert [lease.payload for leases in got for lease in leases] == [b"p%d" % n for n in range(10)]


def test_what_is_settled_in_whatever_parts_and_order_has_one_result_each(harness: Harness) -> None:
    harness.queue.submit(many(0, 10))
    (lease,) = harness.queue.lease_series("s", 10, 0)
    for first, count in ((7, 3), (0, 2), (4, 1)):
        values = [b"v%d" % n for n in range(first, first + count)]
        assert harness.queue.settle_series("s", [OutcomeSeries("t", first, lease.token, "done", values)]) == count
    assert [result.id for result in harness.queue.results("job", 0, 100, 0)] == numbered(7, 8, 9, 0, 1, 4)
    # What overlaps with an earlier outcome counts for the others only.
    assert harness.queue.settle_series("s", [OutcomeSeries("t", 3, lease.token, "done", [b"v3", b"again", b"v5"])]) == 2
    assert {result.id: result.value for result in harness.queue.results("job", 0, 100, 0)} == {
        f"t-{n}": b"v%d" % n for n in (7, 8, 9, 0, 1, 4, 3, 5)
    }
    assert states(harness)["leased"] == numbered(2, 6)


@pytest.mark.parametrize("page", [1, 2, 3, 7])
def test_results_are_paged_by_tasks_whatever_they_were_settled_together_with(harness: Harness, page: int) -> None:
    harness.queue.submit([*many(0, 5), task("alone"), *many(5, 5)])
    leases = harness.queue.lease("s", 100, 0)
    harness.queue.settle("s", [done(lease, lease.id.encode()) for lease in leases])
    read: list[str] = []
    cursor = 0
    while results := harness.queue.results("job", cursor, page, 0):
        assert len(results) <= page
        assert [result.value.decode() for result in results] == [result.id for result in results]
        read += [result.id for result in results]
        cursor = results[-1].cursor
    assert read == [*numbered(*range(5)), "alone", *numbered(*range(5, 10))]


def test_one_that_fails_does_so_alone(harness: Harness) -> None:
    harness.queue.submit(many(0, 5, retries=1, backoff=0.0))
    leases = harness.queue.lease("s", 10, 0)
    harness.queue.settle("s", [failed(leases[2]), *map(done, leases[:2]), *map(done, leases[3:])])
    harness.advance(1)
    (again,) = harness.queue.lease("s", 10, 0)
    assert (again.id, again.attempt, again.payload) == ("t-2", 2, b"p2")
    harness.queue.settle("s", [failed(again)])
    assert [(result.id, result.state, result.attempts) for result in harness.queue.results("job", 0, 10, 0)] == [
        *((f"t-{n}", "done", 1) for n in (0, 1, 3, 4)),
        ("t-2", "failed", 2),
    ]
    assert harness.queue.retry(["t-2", "t-1"]) == 1
    assert ids(harness.queue.lease("s", 10, 0)) == ["t-2"]


@pytest.mark.parametrize("number", [0, 2, 4])
def test_one_that_is_cancelled_before_it_is_lent_leaves_the_others_in_their_order(harness: Harness, number: int) -> None:
    harness.queue.submit(many(0, 5))
    assert harness.queue.cancel([f"t-{number}", f"t-{number}", "t-5", "t-05"]) == 1
    assert ids(harness.queue.lease("s", 2, 0)) == [i for i in numbered(*range(5)) if i != f"t-{number}"][:2]
    assert ids(harness.queue.lease("s", 9, 0)) == [i for i in numbered(*range(5)) if i != f"t-{number}"][2:]


def test_one_that_is_cancelled_while_it_is_lent_has_no_other_result(harness: Harness) -> None:
    harness.queue.submit(many(0, 5))
    leases = harness.queue.lease("s", 10, 0)
    assert harness.queue.cancel(["t-3"]) == 1
    assert harness.queue.heartbeat("s", {}).stop == ["t-3"]
    assert harness.queue.settle("s", list(map(done, leases))) == 4
    assert {r.id: r.state for r in harness.queue.results("job", 0, 9, 0)} == {
        i: "cancelled" if i == "t-3" else "done" for i in numbered(*range(5))
    }


@pytest.mark.parametrize("how", ["released", "connection closed", "session silent", "crashed", "left"])
def test_what_was_lent_and_not_settled_is_lent_again_in_its_order(harness: Harness, how: str) -> None:
    connection = harness.another()
    harness.queue.submit(many(0, 9))
    leases = connection.lease("s", 7, 0)
    connection.settle("s", [done(leases[1]), done(leases[4])])
    match how:
        case "released":
            connection.settle("s", [released(lease) for lease in leases if lease.id not in numbered(1, 4)])
        case "connection closed":
            harness.close(connection)
        case "session silent":
            harness.advance(LEASE_TIME + 1)
        case "crashed":
            harness.reopen()
        case "left":
            assert connection.leave("s") == 5
    assert ids(lease_all(harness, "other")) == numbered(0, 2, 3, 5, 6, 7, 8)


def test_a_release_with_a_delay_puts_off_each_of_them(harness: Harness) -> None:
    harness.queue.submit(many(0, 3))
    leases = harness.queue.lease("s", 9, 0)
    harness.queue.settle("s", [released(lease, 5.0) for lease in leases[:2]])
    assert states(harness) == {"delayed": numbered(0, 1), "leased": numbered(2)}
    harness.advance(6)
    assert [(lease.id, lease.attempt) for lease in harness.queue.lease("s", 9, 0)] == [("t-0", 1), ("t-1", 1)]


def test_one_that_was_lost_with_its_worker_too_often_is_lent_alone_and_the_others_are_not(harness: Harness) -> None:
    harness.queue.submit(many(0, 4))
    for _ in range(SUSPECT_AFTER):
        connection = harness.another()
        leases = connection.lease("s", 4, 0)
        connection.settle("s", [released(lease) for lease in leases if lease.id != "t-1"])
        harness.close(connection)
    assert ids(harness.queue.lease("a", 9, 0)) == ["t-0"]
    assert ids(harness.queue.lease("b", 9, 0)) == ["t-1"]
    assert harness.queue.lease("b", 9, 0) == []
    assert ids(lease_all(harness, "c")) == ["t-2", "t-3"]


def test_a_late_done_counts_once_also_if_its_task_waits_among_others(harness: Harness) -> None:
    connection = harness.another()
    harness.queue.submit(many(0, 5))
    leases = connection.lease("s", 9, 0)
    harness.close(connection)
    assert harness.queue.settle("s", [done(leases[2], b"late"), done(leases[2], b"later")]) == 1
    assert ids(harness.queue.lease("s", 9, 0)) == numbered(0, 1, 3, 4)
    assert [(r.id, r.value, r.attempts) for r in harness.queue.results("job", 0, 9, 0)] == [("t-2", b"late", 1)]


@pytest.mark.parametrize(
    ("before", "again", "new"),
    [
        ((0, 5), (0, 5), 0),
        ((0, 5), (3, 5), 3),
        ((3, 5), (0, 5), 3),
        ((2, 2), (0, 6), 4),
        ((0, 6), (2, 2), 0),
        ((0, 5), (5, 5), 5),
        ((3, 1), (0, 6), 5),
        ((0, 6), (3, 1), 0),
    ],
)
@pytest.mark.parametrize("big", [False, True], ids=["in a series", "in rows"])
def test_of_a_series_submitted_again_in_whatever_part_only_the_new_ones_are_taken(
    harness: Harness, before: tuple[int, int], again: tuple[int, int], new: int, big: bool
) -> None:
    assert harness.queue.submit(many(*before)) == before[1]
    assert harness.queue.submit(many(*again, payload=b"x" * 5000 if big else b"again")) == new
    everything = sorted({*range(before[0], sum(before)), *range(again[0], sum(again))})
    leases = harness.queue.lease("s", 100, 0)
    assert sorted(ids(leases)) == sorted(numbered(*everything))
    assert {lease.id for lease in leases if lease.payload.startswith(b"p")} == set(numbered(*range(before[0], sum(before))))
    assert harness.queue.submit(many(*again)) == 0


def test_of_a_series_over_the_bound_nothing_is_taken_unless_it_is_known(tmp_path_factory: pytest.TempPathFactory) -> None:
    harness = Harness(tmp_path_factory.mktemp("bound"), "in-process", bound=5)
    harness.queue.submit(many(0, 4))
    with pytest.raises(QueueFull):
        harness.queue.submit(many(4, 2))
    assert harness.queue.submit(many(0, 4)) == 0
    assert harness.queue.submit(many(0, 5)) == 1
    harness.end()


def test_a_series_is_looked_up_task_by_task(harness: Harness) -> None:
    harness.queue.submit(many(0, 4, priority=3, retries=7))
    leases = harness.queue.lease("s", 2, 0)
    harness.queue.settle("s", [done(leases[0], b"value")])
    first, leased, ready = harness.queue.show(["t-0", "t-1", "t-2", "t-4", "u-0"])
    assert (first.state, first.value, first.payload, first.attempts) == ("done", b"value", b"", 1)
    assert first.forgotten > first.ended == first.submitted
    assert (leased.state, leased.session, leased.payload) == ("leased", "s", b"p1")
    assert (ready.state, ready.session, ready.payload, ready.priority, ready.retries) == ("ready", "", b"p2", 3, 7)
    assert [one.payload for one in harness.queue.show(["t-2"], False)] == [b""]
    assert [one.id for one in harness.queue.running("job", 9)] == ["t-1"]
    assert states(harness) == {"done": ["t-0"], "leased": ["t-1"], "ready": numbered(2, 3)}
    for state, expected in (("done", [0]), ("leased", [1]), ("ready", [2, 3]), ("failed", [])):
        assert [one.id for one in harness.queue.find(state, "job", 9, 0)] == numbered(*expected)
        assert harness.queue.find(state, "other", 9, 0) == []
    assert [one.id for one in harness.queue.find("ready", None, 1, 1)] == ["t-3"]
    assert [one.id for one in harness.queue.find(None, None, 2, 1)] == numbered(1, 2)
    assert harness.queue.jobs("job", 1, 0)[0][2:] == (4, 1, 0, 0)


def test_tasks_of_series_and_others_are_told_and_lent_in_the_order_of_their_age(harness: Harness) -> None:
    harness.queue.submit([*many(0, 2), task("a"), *many(2, 2), task("b"), *many(4, 2)])
    order = [*numbered(0, 1), "a", *numbered(2, 3), "b", *numbered(4, 5)]
    assert [one.id for one in harness.queue.find("ready", None, 100, 0)] == order
    assert [one.id for after in range(8) for one in harness.queue.find(None, None, 1, after)] == order
    harness.reopen()
    assert [lease.id for _ in order for lease in harness.queue.lease("s", 1, 0)] == order


def test_nothing_is_left_on_the_disk_of_a_series_that_is_forgotten(harness: Harness) -> None:
    harness.queue.submit(many(0, 6, retries=0))
    leases = harness.queue.lease("s", 4, 0)
    harness.queue.settle("s", [*map(done, leases[:3]), failed(leases[3])])
    assert harness.queue.forget("job") == 4
    assert states(harness) == {"ready": numbered(4, 5)}
    assert harness.queue.results("job", 0, 9, 0) == []
    assert harness.queue.show(numbered(0, 3)) == []
    assert rows_of(harness, "payloads") == 1
    harness.queue.settle("s", list(map(done, harness.queue.lease("s", 9, 0))))
    assert rows_of(harness, "payloads") == 0
    assert harness.queue.forget("job") == 2
    assert [rows_of(harness, table) for table in ("series", "part", "payloads", "task", "job")] == [0] * 5
    assert harness.queue.submit(many(0, 6)) == 6


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("how", ["forgotten", "expired"])
def test_ids_that_were_forgotten_may_come_again_while_others_of_their_series_are_open(
    harness: Harness, how: str, first: int
) -> None:
    harness.queue.submit(many(0, 8, result_ttl=5.0))
    leases = harness.queue.lease("s", 6, 0)
    harness.queue.settle("s", list(map(done, leases[first : first + 3])))
    if how == "forgotten":
        assert harness.queue.forget("job") == 3
    else:
        harness.advance(6)
    assert harness.queue.submit(many(0, 8)) == 3
    assert harness.queue.submit(many(0, 8)) == 0
    assert sorted(one.id for one in harness.queue.find(None, None, 100, 0)) == numbered(*range(8))
    assert harness.queue.cancel(numbered(7)) == 1
    harness.queue.settle("s", list(map(done, leases)))
    while leases := harness.queue.lease("s", 100, 0):
        harness.queue.settle("s", list(map(done, leases)))
    assert sorted(result.id for result in harness.queue.results("job", 0, 100, 0)) == numbered(*range(8))


def test_what_a_series_returned_is_kept_for_its_time(harness: Harness) -> None:
    harness.queue.submit(many(0, 3, result_ttl=60.0))
    first, *others = harness.queue.lease("s", 9, 0)
    harness.queue.settle("s", [done(first)])
    harness.advance(20)
    harness.queue.heartbeat("s", {})
    harness.queue.settle("s", list(map(done, others)))
    harness.advance(41)
    assert [result.id for result in harness.queue.results("job", 0, 9, 0)] == numbered(1, 2)
    assert harness.queue.stats()["done"] == 2
    harness.advance(20)
    assert [rows_of(harness, table) for table in ("series", "part", "payloads")] == [0, 0, 0]
    assert harness.queue.stats()["done"] == 0


@pytest.mark.parametrize(
    ("fields", "in_series"),
    [({}, 3), ({"payload": b"x" * 2048}, 3), ({"payload": b"x" * 2049}, 0), ({"delay": 1.0}, 0), ({"expiry": 9.0}, 0)],
    ids=["short", "2 kB", "big", "delayed", "with an expiry"],
)
def test_tasks_that_have_little_in_common_have_rows_of_their_own(
    harness: Harness, fields: dict[str, object], in_series: int
) -> None:
    harness.queue.submit(many(0, 3, **fields))
    assert kept_in_series(harness) == in_series
    assert len(harness.queue.show(numbered(0, 1, 2))) == 3


def test_counts_are_the_same_after_a_crash(harness: Harness) -> None:
    harness.queue.submit([*many(0, 6), task("alone")])
    leases = harness.queue.lease("s", 4, 0)
    harness.queue.settle("s", [done(leases[0]), failed(leases[1])])
    harness.queue.cancel(["t-5"])
    before = {**harness.queue.stats(), "bytes": 0}
    harness.reopen()
    after = {**harness.queue.stats(), "bytes": 0}
    assert after == {**before, "ready": before["ready"] + before["leased"], "leased": 0}
    assert {state: after[state] for state in ("ready", "done", "failed", "cancelled")} == {
        "ready": 4,
        "done": 1,
        "failed": 1,
        "cancelled": 1,
    }
