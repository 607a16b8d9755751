"""All that can befall a cluster within a minute or so, as a seed decides."""

from __future__ import annotations

import secrets

from tests.chaos.run import run
from tests.chaos.schedule import KINDS
from tests.measured import tell

SECONDS = 75.0


def test_every_task_has_its_one_right_result_and_the_cluster_is_well_after_blows_of_every_kind() -> None:
    seed = secrets.randbelow(10**6)
    fell: list[str] = []
    report = run("taskyard-test-chaos", seed, SECONDS, f"make chaos MINUTES={SECONDS / 60:g} SEED={seed}", fell.append)
    lines = report.lines()
    tell(f"blows of {len({one.blow.kind for one in report.fallen})} kinds: {'; '.join(lines[:3])}")
    for kind, why in report.left_out.items():
        tell(f"    left out: {kind}: {why}")
    assert not report.faults, "\n".join([*fell, *lines])
    assert {one.blow.kind for one in report.fallen} | set(report.left_out) == set(KINDS)
    assert report.total("tasks") == report.total("results") > 0
