"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

import taskyard

NOT_ON_A_DISK = ("tmpfs", "ramfs")


def describe(folder: Path) -> dict[str, Any]:
    """Machine, versions and date; ``folder`` is where everything durable goes."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processors": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "memory": psutil.virtual_memory().total,
        "system": f"{_distribution()}, Linux {platform.release()}",
        "file system": file_system(folder),
        "load before": round(os.getloadavg()[0], 2),
        "versions": {
            "taskyard": f"{taskyard.__version__} ({_commit()})",
            "Python": platform.python_version(),
            "SQLite": sqlite3.sqlite_version,
            **_redis(),
        },
    }


def file_system(folder: Path) -> str:
    """The type of the file system that a folder lies on."""
    inside = [part for part in psutil.disk_partitions(all=True) if folder.resolve().is_relative_to(part.mountpoint)]
    return max(inside, key=lambda part: len(part.mountpoint)).fstype


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _distribution() -> str:
    return platform.freedesktop_os_release().get("PRETTY_NAME", "?")


def _redis() -> dict[str, str]:
    if shutil.which("redis-server") is None:
        return {}
    told = subprocess.run(["redis-server", "--version"], capture_output=True, text=True, check=False).stdout
    return {"Redis": told.partition("v=")[2].partition(" ")[0]}


def _commit() -> str:
    asked = ["git", "describe", "--always", "--dirty"]
    found = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return found.stdout.strip() or "no commit"
