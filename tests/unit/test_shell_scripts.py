"""What holds for every shell script of the project."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = (".ci", "deploy", "examples", "requirements", "supply", "tests")
LEAVES_EARLY = re.compile(r"[^|]\|\s*grep\b[^|;&]*\s(-[a-zA-Z]*q|--quiet)")


def test_no_decision_hangs_on_a_pipe_that_grep_leaves_early() -> None:
    # With pipefail it fails whenever its writer has more to say: of a thousand tries with four lines, two hundred.
    scripts = [
        path
        for place in PLACES
        for path in [*(ROOT / place).rglob("*.sh"), *(ROOT / place).glob("run")]
        if "pipefail" in path.read_text() or "# shellcheck shell=bash" in path.read_text()
    ]
    assert len(scripts) > 20
    found = [f"{path.name}: {match[0]}" for path in scripts for match in LEAVES_EARLY.finditer(commands(path))]
    assert found == []


def commands(script: Path) -> str:
    """Its text without comments, each command in one line."""
    lines = (line for line in script.read_text().splitlines() if not line.lstrip().startswith("#"))
    return re.sub(r"(\\|\|)\n\s*", lambda end: end[1].strip("\\"), "\n".join(lines))
