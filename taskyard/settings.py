"""Every setting, from the environment, ``.env`` and secret files. `.env.example` lists them with a sentence each."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from taskyard.errors import SettingsError

NO_FILE = Path(os.devnull)
"""Says of a setting that names a file: there is none."""


class TlsFiles(NamedTuple):
    """What a client of ``managers://`` trusts and shows; each a PEM file."""

    ca: Path | None = None
    """None: the system's CAs."""
    cert: Path | None = None
    """Shown to a server that asks for it."""
    key: Path | None = None
    """None: it stands in the file of the certificate."""
    pinned: bool = False
    """Whether ``ca`` is the server's own certificate, which is enough, whatever its name."""


SYSTEM_CAS = TlsFiles()


class Settings(BaseSettings):
    """One field a setting; its name in upper case is the variable's name."""

    model_config = SettingsConfigDict(env_file=".env", extra="ignore", env_ignore_empty=True)

    taskyard_url: str = "manager://127.0.0.1:5000"
    taskyard_authkey: str = Field(default="", repr=False)
    taskyard_authkey_file: Path | None = None
    taskyard_nats_password_file: Path | None = None
    taskyard_tls_ca: Path | None = None
    taskyard_tls_cert: Path | None = None
    taskyard_tls_key: Path | None = None
    taskyard_log: Literal["console", "json"] = "console"
    taskyard_log_level: Literal["debug", "info", "warning", "error"] = "info"

    master_host: str = "127.0.0.1"
    master_port: int = Field(default=5000, ge=0, le=65535)
    master_advertise: str = ""
    master_replicas: Literal[1, 3, 5] = 1
    master_nats_password_file: Path | None = None
    master_tls_cert: Path | None = None
    master_tls_key: Path | None = None
    master_tls_client_ca: Path | None = None
    master_data: Path = Path("taskyard-data")
    master_lease: float = Field(default=30.0, gt=0)
    master_bound: int = Field(default=10_000_000, gt=0)
    master_payload_limit: int = Field(default=16 * 1024 * 1024, gt=0)
    master_health_file: Path = Path("/tmp/taskyard-master-health")
    master_address_file: Path | None = None
    master_worker_key_file: Path | None = Path("/run/secrets/taskyard_worker_key")
    master_client_key_file: Path | None = Path("/run/secrets/taskyard_client_key")
    master_admin_key_file: Path | None = Path("/run/secrets/taskyard_admin_key")

    worker_app: str = "app.tasks"
    worker_accepts: Literal["names", "names,functions"] = "names,functions"
    worker_slots: Annotated[int, NoDecode] = Field(default=1, ge=1, le=512)
    worker_grace: float = Field(default=20.0, ge=0)
    worker_after_drain: Literal["end", "stay", "complete"] = "end"
    worker_health_file: Path = Path("/tmp/taskyard-worker-health")

    dashboard_port: int = Field(default=8080, ge=0, le=65535)
    dashboard_listen: str = ""
    dashboard_url: str = ""
    dashboard_hosts: str = "localhost,127.0.0.1,[::1],dashboard"
    dashboard_data: Path = Path("taskyard-dashboard")
    dashboard_token_file: Path | None = None
    dashboard_read_token_file: Path | None = None

    @field_validator("master_advertise", mode="after")
    @classmethod
    def _with_port(cls, value: str) -> str:
        if value and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}", value):
            raise ValueError("expected HOST:PORT, such as 10.0.0.5:5000")
        return value

    @field_validator("worker_slots", mode="before")
    @classmethod
    def _auto_slots(cls, value: object) -> object:
        return available_cpus() if value == "auto" else value

    @field_validator("master_replicas", mode="before")
    @classmethod
    def _as_number(cls, value: object) -> object:
        return int(value) if isinstance(value, str) and value.isdecimal() else value  # a Literal takes no text for its number

    @field_validator("*", mode="after")
    @classmethod
    def _no_file(cls, value: object) -> object:
        return None if value == NO_FILE else value  # an empty value would let one in `.env` count

    @property
    def dashboard_base(self) -> str:
        """The address under which browsers find the dashboard."""
        return self.dashboard_url.rstrip("/") or f"http://127.0.0.1:{self.dashboard_port}"

    @property
    def tls_files(self) -> TlsFiles:
        """Those of a client."""
        return TlsFiles(self.taskyard_tls_ca, self.taskyard_tls_cert, self.taskyard_tls_key)


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
