"""A copy of this source in which a guard is missing."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from tests.cluster.clone import make_clone
from tests.guards.listing import Guard

ROOT = Path(__file__).parents[2]


def see_fail_without(guard: Guard, folder: Path) -> str:
    """Run its tests in a copy without the guard. Returns what they print; AssertionError if none of them fails."""
    make_clone(folder)
    if (ROOT / ".env").exists():
        shutil.copy2(ROOT / ".env", folder)
    file = folder / guard.file
    file.write_text(file.read_text().replace(guard.code, guard.without))
    pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *guard.tests.split()]
    ended = subprocess.run(pytest, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    # 1: tests were run, and one has failed. Whatever else happened, an import that fails for instance, shows nothing.
    assert ended.returncode == 1, f"without its guard, {guard.what!r} goes unnoticed by {guard.tests}:\n{ended.stdout}"
    assert f"\n{guard.shown_by} tests/" in ended.stdout, ended.stdout
    return ended.stdout
