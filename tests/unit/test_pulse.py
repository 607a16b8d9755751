"""The health command tells from a file's age whether a program is well."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from taskyard.pulse import BEAT_SECONDS, HEALTHY_SECONDS, check


def test_a_program_that_has_not_shown_a_pulse_yet_is_not_well(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(str(tmp_path / "none")) == 1
    assert capsys.readouterr().out == "not ready yet\n"


@pytest.mark.parametrize(
    ("age", "code", "words"),
    [
        (0.0, 0, "well: last seen so 0.0 s ago\n"),
        (HEALTHY_SECONDS - 0.5, 0, "well: last seen so 9.5 s ago\n"),
        (HEALTHY_SECONDS, 1, "not well: last seen so 10.0 s ago\n"),
        (3600.0, 1, "not well: last seen so 3600.0 s ago\n"),
    ],
)
def test_a_program_is_well_while_its_pulse_is_young(
    age: float, code: int, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pulse = tmp_path / "pulse"
    pulse.touch()
    os.utime(pulse, (1_700_000_000, 1_700_000_000))
    monkeypatch.setattr(time, "time", lambda: 1_700_000_000 + age)
    assert check(str(pulse)) == code
    assert capsys.readouterr().out == words


def test_who_asks_for_once_is_told_whether_it_has_been_well_since_its_start(tmp_path: Path) -> None:
    pulse = tmp_path / "pulse"
    assert check(str(pulse), once=True) == 1
    pulse.touch()
    os.utime(pulse, (0, 0))
    assert check(str(pulse), once=True) == 0


def test_a_missed_beat_makes_nobody_unwell() -> None:
    assert HEALTHY_SECONDS >= 3 * BEAT_SECONDS
