"""A plain Debian machine of these tests' own: a container with sshd, a user who may sudo, and nothing of Docker in it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.project import ROOT
from tests.harness import wait_until

IMAGE = "taskyard-test/machine"
CAPABILITIES = (
    "AUDIT_CONTROL AUDIT_READ BLOCK_SUSPEND DAC_READ_SEARCH IPC_LOCK IPC_OWNER LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE"
    " NET_ADMIN NET_BROADCAST SYSLOG SYS_ADMIN SYS_BOOT SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_TIME"
    " SYS_TTY_CONFIG WAKE_ALARM"
)
"""What an engine within a container needs. `--privileged` would ask for more, which not every machine has to give."""
UNCONFINED = ("seccomp=unconfined", "apparmor=unconfined", "systempaths=unconfined")


def run(*words: str, check: bool = True, **options: object) -> str:
    """Run a command; returns what it printed."""
    ended = subprocess.run(words, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, **options)  # type: ignore[call-overload]
    assert ended.returncode == 0 or not check, f"{' '.join(words)}: {ended.returncode}\n{ended.stdout}"
    return str(ended.stdout)


def build_image(python_image: str) -> None:
    """Of all machines."""
    run("docker", "build", "--quiet", "--tag", IMAGE, "--build-arg", f"PYTHON_IMAGE={python_image}", str(ROOT / "tests/deploy"))


class Machine:
    """``name``: its container's, too. ``folder`` gets its key and its options of ssh."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.user = f"debian@{name}"
        self._folder = folder
        self._key = folder / "id_ed25519"
        self._config = folder / "ssh_config"

    @property
    def ssh(self) -> str:
        """The command that reaches it."""
        return f"ssh -F {self._config}"

    def __enter__(self) -> Self:
        run("docker", "rm", "--force", "--volumes", self.name, check=False)  # what an interrupted run has left
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self._key))
        options = [word for name in CAPABILITIES.split() for word in ("--cap-add", name)]
        options += [word for option in UNCONFINED for word in ("--security-opt", option)]
        options += ["--cgroupns", "host", "--volume", "/sys/fs/cgroup:/sys/fs/cgroup:rw", "--tmpfs", "/run"]
        options += ["--volume", "/var/lib/docker", "--init", "--name", self.name, "--hostname", self.name]
        start = "ssh-keygen -A && install -d -m 0755 /run/sshd && exec /usr/sbin/sshd -D -e"
        run("docker", "run", "--detach", *options, IMAGE, "sh", "-c", start)
        public = self._key.with_suffix(".pub").read_text()
        self.inside("cat >/home/debian/.ssh/authorized_keys", user="debian", given=public)
        self._meet()
        return self

    def cut_power(self) -> None:
        """End all that runs there at once, and have it boot: sshd, and nothing else yet."""
        run("docker", "kill", self.name)
        run("docker", "start", self.name)
        self._meet()

    def _meet(self) -> None:
        address = run("docker", "inspect", "--format", "{{.NetworkSettings.IPAddress}}", self.name).strip()
        self._config.write_text(
            f"Host {self.name}\n HostName {address}\n IdentityFile {self._key}\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {self._folder}/known_hosts\n StrictHostKeyChecking accept-new\n"
            " LogLevel ERROR\n BatchMode yes\n"
        )
        wait_until(lambda: self.over_ssh("echo ready", check=False) == "ready\n", f"sshd of {self.name} answers")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        # All its processes are in its namespace, also those of its engine's containers, and end with it.
        run("docker", "rm", "--force", "--volumes", self.name)

    def inside(self, command: str, *, user: str = "root", given: str | None = None, check: bool = True) -> str:
        """Run a command of its shell."""
        words = ("docker", "exec", "--interactive", "--user", user, self.name, "bash", "-c", command)
        return run(*words, input=given, check=check) if given is not None else run(*words, stdin=subprocess.DEVNULL, check=check)

    def over_ssh(self, command: str, *, check: bool = True) -> str:
        """Run a command as its user."""
        return run(*self.ssh.split(), self.user, command, check=check, stdin=subprocess.DEVNULL)

    def cli(self, *words: str) -> str:
        """Taskyard's command line there, in its folder."""
        return self.inside("cd /opt/taskyard && docker compose run --rm -T --no-deps cli " + " ".join(words) + " 2>/dev/null")

    def environment(self) -> dict[str, str]:
        """What `make deploy` is to find."""
        return {**os.environ, "SSH": self.ssh}
