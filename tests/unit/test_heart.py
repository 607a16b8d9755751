"""How often a worker's heart beats, and what it tells."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from time import monotonic, time
from typing import Any

import pytest

from taskyard import __version__, calls
from taskyard.model import Orders
from taskyard.transport import RemoteQueue
from worker import links
from worker.links import PROGRESS_SECONDS, Heart
from worker.offer import Offer
from worker.usage import Usage

SELDOM_SECONDS = 6.0


class Beats(RemoteQueue):
    """A queue that keeps each beat with its time."""

    def __init__(self) -> None:
        super().__init__("manager://nowhere:1", b"")
        self.to_drain = False
        self.told: SimpleQueue[tuple[float, dict[str, Any]]] = SimpleQueue()

    def heartbeat(self, session: str, info: dict[str, Any]) -> Orders:
        self.told.put((monotonic(), info))
        return Orders([], self.to_drain)

    def leave(self, session: str) -> int:
        return 0


@pytest.fixture
def beats() -> Beats:
    return Beats()


@pytest.fixture
def seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    """It beats so seldom by itself that a beat which something else calls for comes before, on a busy machine too."""
    monkeypatch.setattr(links, "BEAT_SECONDS", SELDOM_SECONDS)


@pytest.fixture
def patient(seldom: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what need not be told at once is told after five seconds."""
    monkeypatch.setattr(links, "PROGRESS_SECONDS", SELDOM_SECONDS - 1)


@pytest.fixture
def heart(beats: Beats, tmp_path: Path) -> Iterator[Heart]:
    """A beating one."""
    heart = Heart(beats, "session", tmp_path / "health", lambda _: None)
    heart.introduce(3, Offer(["work"], [("a schedule",)]))
    thread = Thread(target=heart.run, daemon=True)
    thread.start()
    yield heart
    heart.leave(0)
    thread.join(5)
    assert not thread.is_alive(), "it leaves at once"


def test_a_beat_tells_what_the_worker_offers(heart: Heart, beats: Beats) -> None:
    _, info = beats.told.get(timeout=20)
    assert (info["slots"], info["tasks"], info["schedules"]) == (3, ["work"], [("a schedule",)])
    assert (info["python"], info["progress"]) == (calls.PYTHON, {})


@pytest.mark.usefixtures("seldom")
def test_news_of_progress_lets_it_beat_soon_and_not_too_often(heart: Heart, beats: Beats) -> None:
    first, _ = beats.told.get(timeout=20)
    heart.tell_progress({"id": (1.0, 2.0, "")})
    second, info = beats.told.get(timeout=20)
    assert info["progress"] == {"id": (1.0, 2.0, "")}
    assert PROGRESS_SECONDS * 0.9 < second - first < SELDOM_SECONDS * 0.9
    heart.tell_progress({"id": (1.0, 2.0, "")})  # no news
    third, _ = beats.told.get(timeout=20)
    assert third - second > SELDOM_SECONDS * 0.9
    heart.tell_progress({})
    fourth, info = beats.told.get(timeout=20)
    assert fourth - third < SELDOM_SECONDS * 0.9
    assert info["progress"] == {}


def test_a_beat_tells_what_the_worker_is_and_what_it_takes(heart: Heart, beats: Beats) -> None:
    heart.measure = lambda: Usage(1.5, 1000)
    beats.told.get(timeout=20)
    _, info = beats.told.get(timeout=20)
    assert (info["cpu"], info["memory"], info["pid"], info["version"]) == (1.5, 1000, os.getpid(), __version__)
    assert 0 <= time() - info["started"] < 60


def test_an_order_to_drain_is_heard(heart: Heart, beats: Beats) -> None:
    heard = Event()
    heart.told_to_drain = heard.set
    beats.told.get(timeout=20)
    assert not heard.is_set()
    beats.to_drain = True
    assert heard.wait(20)


@pytest.mark.usefixtures("patient")
def test_draining_is_told_at_once(heart: Heart, beats: Beats) -> None:
    first, _ = beats.told.get(timeout=20)
    heart.drain()
    second, info = beats.told.get(timeout=20)
    assert info["draining"] is True
    assert second - first < links.PROGRESS_SECONDS
