"""What a user does with a clone of this source: type commands of its documents."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.cluster.project import ROOT


def make_clone(folder: Path) -> None:
    """What a clone of this source would hold, and nothing else."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def blocks_of(document: str) -> list[tuple[str, str]]:
    """Kind and text of a document's blocks of commands."""
    return re.findall(r"```(sh|console)\n(.*?)```", (ROOT / document).read_text(), re.DOTALL)


def typed(block: str, folder: Path, environment: Mapping[str, str]) -> str:
    """Run a block of commands as a user would; each has to succeed. Returns what they printed."""
    ended = subprocess.run(
        ["bash", "-eu", "-c", block], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert ended.returncode == 0, f"{block}\n{ended.stdout}"
    return ended.stdout.replace("\x1b[2K", "")  # Compose clears each line of a log before it


def remove_cluster(folder: Path, environment: Mapping[str, str]) -> None:
    """With its volumes, whether there is one or not."""
    down = ["docker", "compose", "--profile", "tools", "down", "--volumes", "--remove-orphans"]
    subprocess.run(down, cwd=folder, env=environment, check=True, capture_output=True)
