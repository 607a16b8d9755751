"""Runs a measure round by round, and keeps what each round has given."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import machine
from bench.fresh import CallFailed
from bench.measures import Measure, Point

Tell = Callable[[str], None]


def run(measure: Measure, rounds: int, scale: float, folder: Path, tell: Tell, advance: Callable[[], None]) -> dict[str, Any]:
    """All rounds of a measure, as they go into its file. ``advance`` is called after each point.

    Raises `CallFailed` for a point that must not fail; one that may is not tried again in later rounds.
    """
    points = measure.points(scale)
    described = machine.describe(folder)
    answers: dict[str, list[Any]] = {point.label: [] for point in points}
    errors: dict[str, str] = {}
    for round_ in range(1, rounds + 1):
        for point in points:
            tell(f"{measure.name}, round {round_} of {rounds}: {point.label}")
            if point.label not in errors:
                _take(point, folder, answers[point.label], errors)
            advance()
    return {
        "measure": measure.name,
        "rounds": rounds,
        "scale": scale,
        "machine": described,
        "points": [
            {"label": point.label, **point.about, "rounds": answers[point.label], "error": errors.get(point.label)}
            for point in points
        ],
    }


def _take(point: Point, folder: Path, answers: list[Any], errors: dict[str, str]) -> None:
    try:
        answers.append(point.call(folder))
    except CallFailed as error:
        if not point.may_fail:
            raise CallFailed(f"{point.label}: {error}") from None
        errors[point.label] = str(error)


def write(record: dict[str, Any], command: str, folder: Path) -> Path:
    """Write a measure's file; returns its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{record['measure']}.json"
    path.write_text(json.dumps({"command": command, **record}, indent=1) + "\n")
    return path
