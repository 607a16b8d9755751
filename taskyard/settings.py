"""Every setting, from the environment, ``.env`` and secret files. `.env.example` lists them with a sentence each."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from taskyard.errors import SettingsError

KEY_FILES = ("/run/secrets/taskyard_authkey", "/run/taskyard/authkey")
"""Looked at in this order when neither TASKYARD_AUTHKEY nor TASKYARD_AUTHKEY_FILE is set."""


class Settings(BaseSettings):
    """One field a setting; its name in upper case is the variable's name."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    taskyard_url: str = "manager://127.0.0.1:5000"
    taskyard_authkey: str = Field(default="", repr=False)
    taskyard_authkey_file: Path | None = None
    taskyard_log: Literal["console", "json"] = "console"
    taskyard_log_level: Literal["debug", "info", "warning", "error"] = "info"

    master_host: str = "127.0.0.1"
    master_port: int = Field(default=5000, ge=0, le=65535)
    master_data: Path = Path("taskyard-data")
    master_lease: float = Field(default=30.0, gt=0)
    master_bound: int = Field(default=10_000_000, gt=0)
    master_payload_limit: int = Field(default=16 * 1024 * 1024, gt=0)
    master_health_file: Path = Path("/tmp/taskyard-master-health")
    master_address_file: Path | None = None

    worker_app: str = "app.tasks"
    worker_accepts: Literal["names", "names,functions"] = "names,functions"
    worker_slots: Annotated[int, NoDecode] = Field(default=1, ge=1, le=512)
    worker_grace: float = Field(default=20.0, ge=0)
    worker_health_file: Path = Path("/tmp/taskyard-worker-health")

    @field_validator("worker_slots", mode="before")
    @classmethod
    def _auto_slots(cls, value: object) -> object:
        return available_cpus() if value == "auto" else value


def available_cpus() -> int:
    """CPUs this process may use: the affinity mask, cut by the cgroup's quota (v2 ``cpu.max``, v1 ``cpu.cfs_quota_us``)."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for quota_file, period_file in (
        ("/sys/fs/cgroup/cpu.max", None),
        ("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "/sys/fs/cgroup/cpu/cpu.cfs_period_us"),
    ):
        try:
            words = Path(quota_file).read_text().split() + (Path(period_file).read_text().split() if period_file else [])
            quota, period = words[0], int(words[1])
        except (OSError, IndexError, ValueError):
            continue
        if quota not in ("max", "-1"):
            return max(1, min(cpus, int(quota) // period))
    return cpus


def load_settings() -> Settings:
    """Settings of this process. Raises `SettingsError` that names the variable."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0]).upper() if first["loc"] else "?"
        raise SettingsError(f"{name}={first['input']!r}: {first['msg']}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the file .env can't be read: {error}") from None


def parse_url(url: str) -> tuple[str, int]:
    """Host and port of a ``manager://host:port`` URL (port 5000 when absent). Raises `SettingsError`."""
    try:
        parts = urlsplit(url)
        scheme, host, port = parts.scheme, parts.hostname, 5000 if parts.port is None else parts.port
    except ValueError:  # a port that is none, half a pair of brackets
        scheme, host, port = "", None, 0
    if scheme != "manager" or not host or not port:
        raise SettingsError(f"TASKYARD_URL={url!r}: expected manager://HOST:PORT, for instance manager://master:5000")
    return host, port


def find_authkey(settings: Settings) -> bytes:
    """The authkey: TASKYARD_AUTHKEY, else the file of TASKYARD_AUTHKEY_FILE, else the first of `KEY_FILES` there is.

    Raises `SettingsError` when there is none or its file can't be read.
    """
    if settings.taskyard_authkey:
        return settings.taskyard_authkey.encode()
    path = settings.taskyard_authkey_file or next(filter(is_there, map(Path, KEY_FILES)), None)
    if path is None:
        raise SettingsError("no authkey: set TASKYARD_AUTHKEY, or TASKYARD_AUTHKEY_FILE to a file that holds it")
    try:
        key = path.read_bytes().strip()
    except OSError as error:
        raise SettingsError(f"the authkey's file {path} can't be read: {error.strerror} (uid {os.getuid()})") from None
    if not key:
        raise SettingsError(f"the authkey's file {path} is empty")
    return key


def is_there(path: Path) -> bool:
    """Whether there is such a file, also one that this user may not look at: reading it says so."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def make_authkey(path: Path) -> bytes:
    """Write a random authkey to ``path`` (mode 0640), whole or not at all; returns it."""
    key = secrets.token_urlsafe(32)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640)
    with os.fdopen(descriptor, "w") as file:
        file.write(key + "\n")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    return key.encode()
