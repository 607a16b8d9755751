"""A real master that has a key for each role."""

from __future__ import annotations

from pathlib import Path

from taskyard.transport import RemoteQueue
from tests.contract.master_process import MasterProcess

ROLES = ("worker", "client", "admin")


class KeyedMaster(MasterProcess):
    """With a key for each role."""

    def __init__(self, folder: Path) -> None:
        self.files = {role: folder / f"{role}-key" for role in ROLES}
        folder.mkdir(parents=True, exist_ok=True)
        for role in ROLES:
            self.write(role, f"the key of the {role}")
        super().__init__(folder, taskyard_authkey="", **{f"master_{role}_key_file": file for role, file in self.files.items()})

    def write(self, role: str, *keys: str) -> None:
        self.files[role].write_text("\n".join(keys) + "\n")

    def queue(self, patience: float | None = 10.0, name: str = "", role: str = "admin") -> RemoteQueue:
        return RemoteQueue(self.url, lambda: self.files[role].read_bytes().splitlines()[0], patience, name)
