"""The `docker` command: whoever may use it here may scale, and it knows contexts, other hosts and Compose's files by itself."""

from __future__ import annotations

import json
import subprocess
from datetime import datetime
from typing import Any

from taskyard.errors import DockerFailed

SECONDS = 300.0
"""That one command may take."""


def docker(*words: str) -> str:
    """Run ``docker`` with these words; returns what it prints. Raises `DockerFailed` with its last line of complaint."""
    try:
        ended = subprocess.run(["docker", *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS)
    except FileNotFoundError:
        raise DockerFailed("there is no `docker` command: workers are scaled on the Docker host or a Swarm manager") from None
    except subprocess.TimeoutExpired:
        raise DockerFailed(f"docker {' '.join(words[:2])}: no end after {SECONDS:g} s") from None
    if ended.returncode:
        lines = [line.strip() for line in ended.stderr.splitlines() if line.strip()]
        raise DockerFailed(f"docker {' '.join(words[:2])}: {lines[-1] if lines else f'exit code {ended.returncode}'}")
    return ended.stdout


def docker_json(*words: str) -> Any:
    """The same where it prints JSON."""
    try:
        return json.loads(docker(*words))
    except ValueError:
        raise DockerFailed(f"docker {' '.join(words[:2])}: it did not print JSON") from None


def epoch(moment: str) -> float:
    """Seconds of a moment as Docker writes it: 2026-01-31T12:00:00.123456789Z."""
    return datetime.fromisoformat(moment[:19] + "+00:00").timestamp()
