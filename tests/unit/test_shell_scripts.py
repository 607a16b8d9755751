"""What holds for every script of the project."""

from __future__ import annotations

import re
from pathlib import Path

DEPLOY = Path(__file__).parents[2] / "deploy"
LEAVES_EARLY = re.compile(r"^[^#]*[^|]\|\s*grep\s+-\w*q")


def test_no_decision_hangs_on_a_pipe_whose_reader_leaves_early() -> None:
    # With pipefail that pipe fails whenever its writer has more to say: of a thousand tries with four lines, two hundred.
    scripts = [path for path in DEPLOY.rglob("*.sh") if not path.read_text().startswith("#!/bin/sh")]
    assert len(scripts) > 20
    found = [f"{path.name}: {line}" for path in scripts for line in path.read_text().splitlines() if LEAVES_EARLY.search(line)]
    assert found == []
