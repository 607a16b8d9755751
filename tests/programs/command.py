"""``taskyard`` as its users call it: words in, lines and an exit code out."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.contract.master_process import MasterProcess


class Command:
    """The command line of one cluster."""

    def __init__(self, master: MasterProcess, **settings: str) -> None:
        self.environment = master.environment() | settings
        self.folder = master.folder

    def run(self, *words: str, lines: str | None = None) -> subprocess.CompletedProcess[str]:
        """Run it to its end; ``lines``: its standard input."""
        return subprocess.run(
            self.words(*words),
            cwd=self.folder,
            env=self.environment,
            input=lines,
            stdin=subprocess.DEVNULL if lines is None else None,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def ask(self, *words: str, lines: str | None = None) -> str:
        """What it prints, when all is well."""
        ended = self.run(*words, lines=lines)
        assert (ended.returncode, ended.stderr) == (0, "")
        return ended.stdout

    def ask_json(self, *words: str) -> Any:
        return json.loads(self.ask(*words, "--json"))

    def rows(self, *words: str) -> list[dict[str, str]]:
        """The lines of a list, by the names of its columns."""
        head, *lines = self.ask(*words).splitlines()
        return [dict(zip(head.split("\t"), line.split("\t"), strict=True)) for line in lines]

    def start(self, *words: str, cwd: Path | None = None) -> subprocess.Popen[str]:
        """Start it, in a session of its own, with pipes."""
        return subprocess.Popen(
            self.words(*words),
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        )

    @staticmethod
    def words(*words: str) -> list[str]:
        return [sys.executable, "-m", "taskyard", *words]
