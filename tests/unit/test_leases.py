"""Who holds what, and how a turn that the disk refused is taken back."""

from __future__ import annotations

import pytest

from master.leases import Leases, Session
from master.ready import Entry

LEASE_TIME = 30.0
NOW, WALL = 1000.0, 1.7e9


def entry(seq: int, many: int = 1) -> Entry:
    return Entry(0, seq, "task", seq, "job", "work", [b"%d" % (seq + n) for n in range(many)], 0.0, 0, many=many)


@pytest.fixture
def leases() -> Leases:
    return Leases(LEASE_TIME)


@pytest.fixture
def session(leases: Leases) -> Session:
    return leases.session("s", 1000.0)


def held_by(leases: Leases, session: Session) -> list[int]:
    return [seq for held, seq in leases.all() if held.session is session]


def test_a_session_lasts_a_lease_time_from_its_last_word(leases: Leases) -> None:
    session = leases.session("s", 1000.0)
    assert session.deadline == 1000.0 + LEASE_TIME
    assert leases.session("s", 1020.0) is session
    assert (session.seen, session.deadline) == (1020.0, 1020.0 + LEASE_TIME)


def test_a_word_that_was_said_before_the_last_one_puts_nothing_back(leases: Leases) -> None:
    # Of a call that has waited its turn, or for news.
    session = leases.session("s", 1020.0)
    assert leases.session("s", 1000.0) is session
    assert (session.seen, session.deadline) == (1020.0, 1020.0 + LEASE_TIME)


def test_a_lease_is_known_by_its_task_until_it_is_taken_back(leases: Leases, session: Session) -> None:
    token = leases.lend(entry(1), session, NOW, WALL)
    held = leases.by_seq[1]
    assert (held.entry, held.token, held.session, held.since, held.at, held.left) == (entry(1), token, session, NOW, WALL, 1)
    assert (len(leases), session.leased) == (1, 1)
    assert leases.take_back(1) is held
    assert leases.take_back(1) is None
    assert (leases.by_seq, len(leases), session.leased, session.held) == ({}, 0, 0, {})


def test_tasks_of_a_series_are_taken_back_in_whatever_parts(leases: Leases, session: Session) -> None:
    token = leases.lend(entry(1, 9), session, NOW, WALL)
    assert leases.take(token, "task", 3, 2) == entry(3, 2)
    assert leases.take_back(8) is leases.by_seq[9]
    assert [leases.take(token, "task", *wrong) for wrong in ((2, 2), (3, 1), (7, 2), (9, 2), (0, 1), (10, 1))] == [None] * 6
    assert leases.take(token, "other", 1, 1) is None
    assert leases.take(token + 1, "task", 1, 1) is None
    assert (session.leased, held_by(leases, session)) == (6, [1, 2, 5, 6, 7, 9])
    assert leases.take_all(session) == [entry(1, 2), entry(5, 3), entry(9)]
    assert (len(leases), session.leased, session.held) == (0, 0, {})
    assert leases.take(token, "task", 1, 1) is None


def test_undo_brings_back_the_parts_of_a_series_that_were_taken(leases: Leases, session: Session) -> None:
    other = leases.session("other", 1000.0)
    token = leases.lend(entry(1, 5), session, NOW, WALL)
    leases.take(token, "task", 2, 1)
    leases.keep()
    leases.take(token, "task", 3, 3)
    leases.lend(entry(4), other, NOW, WALL)
    leases.take_all(session)
    leases.undo()
    assert (held_by(leases, session), held_by(leases, other)) == ([1, 3, 4, 5], [])
    assert (session.leased, other.leased, list(session.held), other.held) == (4, 0, [token], {})
    assert leases.take(token, "task", 3, 3) == entry(3, 3)


def test_progress_is_told_of_a_lease_and_ends_with_it(leases: Leases, session: Session) -> None:
    for seq in (1, 2):
        leases.lend(entry(seq), session, NOW, WALL)
        session.progress[seq] = (1.0, 2.0, "")
    leases.take_back(1)
    leases.lend(entry(1), session, NOW, WALL)
    assert session.progress == {2: (1.0, 2.0, "")}


def test_each_lease_has_a_token_of_its_own_also_in_another_life_of_the_master(leases: Leases, session: Session) -> None:
    another_life = Leases(LEASE_TIME)
    tokens = {leases.lend(entry(1), session, NOW, WALL), leases.lend(entry(1), session, NOW, WALL)}
    tokens.add(another_life.lend(entry(1), another_life.session("s", 1000.0), NOW, WALL))
    assert len(tokens) == 3


def test_what_a_session_holds_is_told_oldest_task_first(leases: Leases, session: Session) -> None:
    other = leases.session("other", 1000.0)
    for seq, holder in ((3, session), (1, session), (2, other)):
        leases.lend(entry(seq), holder, NOW, WALL)
    assert [entry.seq for entry in leases.take_all(session)] == [1, 3]
    assert held_by(leases, other) == [2]


def test_undo_takes_back_what_was_lent_and_what_was_ended(leases: Leases, session: Session) -> None:
    token = leases.lend(entry(1), session, NOW, WALL)
    leases.keep()
    leases.take_back(1)
    leases.lend(entry(2), session, NOW, WALL)
    leases.undo()
    held = leases.by_seq.get(1)
    assert held is not None
    assert held.token == token
    assert held_by(leases, session) == [1]
    assert list(leases.by_seq) == [1]


def test_all_leases_are_told_oldest_first_also_after_undo(leases: Leases, session: Session) -> None:
    for seq in (2, 1, 3):
        leases.lend(entry(seq), session, NOW - seq, WALL)
    leases.keep()
    leases.take_back(3)
    leases.undo()
    assert [seq for _, seq in leases.all()] == [3, 2, 1]


def test_undo_of_a_task_lent_anew_brings_back_the_first_lease(leases: Leases, session: Session) -> None:
    other = leases.session("other", 1000.0)
    token = leases.lend(entry(1), session, NOW, WALL)
    leases.keep()
    leases.take_back(1)
    leases.lend(entry(1), other, NOW, WALL)
    leases.take_back(1)
    leases.lend(entry(1), other, NOW, WALL)
    leases.undo()
    held = leases.by_seq.get(1)
    assert held is not None
    assert (held.token, held.session) == (token, session)
    assert (held_by(leases, session), held_by(leases, other)) == ([1], [])


def test_what_was_kept_is_not_undone(leases: Leases, session: Session) -> None:
    leases.lend(entry(1), session, NOW, WALL)
    leases.keep()
    leases.undo()
    assert held_by(leases, session) == [1]
    leases.take_back(1)
    leases.keep()
    leases.undo()
    assert len(leases) == 0


@pytest.mark.parametrize("comes_back", [False, True], ids=["gone", "back under its name"])
def test_a_lease_of_a_session_that_is_gone_stays_ended_after_undo(leases: Leases, session: Session, comes_back: bool) -> None:
    leases.lend(entry(1), session, NOW, WALL)
    leases.keep()
    # A session's end is no matter of the disk, so no rollback brings it back.
    del leases.sessions["s"]
    leases.take_back(1)
    if comes_back:
        leases.session("s", 1001.0)
    leases.undo()
    assert (leases.by_seq, session.leased, session.held) == ({}, 0, {})


def test_a_session_that_says_so_is_draining(leases: Leases, session: Session) -> None:
    assert not session.draining
    session.info = {"draining": True}
    assert session.draining
