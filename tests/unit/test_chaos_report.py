"""What a run of blows reports."""

from __future__ import annotations

from tests.chaos.report import Fallen, Report
from tests.chaos.schedule import Blow

PAUSED = Fallen(Blow(1.0, "master", "pause master", 5.0, 1), begun=101.0, over=106.0, hit=1)
KILLED = Fallen(Blow(2.0, "workers", "kill slots", 1.0, 2), begun=110.0, over=111.0, hit=4)
VERDICT = {"job": "j", "tasks": 1200, "results": 1200, "attempts": 1203, "most_attempts": 2, "faults": [], "wrong": []}


def report(**fields: object) -> str:
    made = Report(
        7, 60.0, "make chaos MINUTES=1 SEED=7", [PAUSED, KILLED], gaps=[(101.1, 106.6)], longest=5.5, verdicts=[VERDICT]
    )
    for name, value in fields.items():
        setattr(made, name, value)
    return "\n".join(made.lines())


def test_a_clean_run_tells_its_seed_what_was_done_and_how_long_nothing_came() -> None:
    told = report()
    assert "seed 7, 1.0 minutes, 2 blows" in told
    assert "tasks 1,200, results 1,200, counted attempts 1,203 (of one task 2 at most)" in told
    assert "while work was open: 5.5 s" in told
    assert "| pause master | 1 | 1 | 5.5 s |" in told
    assert "| kill slots | 1 | 4 | under 0.5 s |" in told
    assert told.endswith("verdict: clean. Each task has exactly its one right result, and the cluster is healthy.")


def test_a_run_with_faults_names_them_and_the_command_that_repeats_it() -> None:
    told = report(faults=["job j: 1 acknowledged, without an end: j-5"])
    assert "FAULT: job j: 1 acknowledged, without an end: j-5" in told
    assert told.endswith("The same blows again: make chaos MINUTES=1 SEED=7")
    assert "clean" not in told


def test_what_could_not_be_done_here_is_said_with_the_reason() -> None:
    assert "left out: fill disk: no root" in report(left_out={"fill disk": "no root"})
