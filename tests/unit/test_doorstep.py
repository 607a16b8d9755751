"""Who may prove the key, and who gives way."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest
from structlog.testing import capture_logs

from master import doorstep
from master.doorstep import TELL_AGAIN, TOLD, Doorstep, Refusals
from taskyard import wire

Made = tuple[wire.PlainConnection, socket.socket]


@pytest.fixture
def connect() -> Iterator[Callable[[], Made]]:
    """Makes a connection and its client's end."""
    made: list[Made] = []

    def connect_one() -> Made:
        ours, theirs = socket.socketpair()
        theirs.settimeout(0)
        made.append((wire.PlainConnection(ours.detach()), theirs))
        return made[-1]

    yield connect_one
    for conn, sock in made:
        conn.close()
        sock.close()


def is_hung_up(sock: socket.socket) -> bool:
    try:
        return sock.recv(1) == b""
    except BlockingIOError:
        return False


def test_only_when_all_places_are_taken_the_one_that_has_been_there_for_longest_gives_way(connect: Callable[[], Made]) -> None:
    doorstep = Doorstep(3)
    made = [connect() for _ in range(5)]
    for conn, _ in made[:3]:
        doorstep.enter(conn)
    assert [is_hung_up(sock) for _, sock in made] == [False] * 5
    for conn, _ in made[3:]:
        doorstep.enter(conn)
    assert [is_hung_up(sock) for _, sock in made] == [True, True, False, False, False]
    assert [doorstep.leave(conn) for conn, _ in made] == [False, False, True, True, True]


def test_who_has_proved_its_key_gives_way_to_nobody(connect: Callable[[], Made]) -> None:
    doorstep = Doorstep(2)
    first, second, third, fourth = made = [connect() for _ in range(4)]
    doorstep.enter(first[0])
    doorstep.enter(second[0])
    assert doorstep.leave(first[0])
    doorstep.enter(third[0])
    doorstep.enter(fourth[0])
    assert [is_hung_up(sock) for _, sock in made] == [False, True, False, False]


def test_a_crowd_does_not_fill_the_log(connect: Callable[[], Made]) -> None:
    doorstep = Doorstep(1)
    before, _ = connect()
    doorstep.enter(before)
    with capture_logs() as lines:
        for _ in range(50):
            conn, _ = connect()
            doorstep.enter(conn)
            assert not doorstep.leave(before)
            before = conn
    assert [line["event"] for line in lines] == [
        "too many connections prove no key; those that have been silent for longest are closed"
    ]


def test_of_many_refused_connections_the_first_have_a_line_and_the_others_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr(doorstep, "monotonic", lambda: now)
    refusals = Refusals()
    with capture_logs() as logs:
        for number in range(TOLD + 7):
            refusals.tell(f"reason {number}")
        assert [log["reason"] for log in logs] == [f"reason {number}" for number in range(TOLD)]
        now += TELL_AGAIN
        refusals.tell("later")
    assert [log["event"] for log in logs[TOLD:]] == ["more connections were refused", "a connection was refused"]
    assert logs[TOLD]["connections"] == 7
    assert logs[-1]["reason"] == "later"
