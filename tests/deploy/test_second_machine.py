"""deploy/cloud-init.yaml is what cloud-init itself takes, and does what it says: on a second machine, by its own commands."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
import yaml

from tests.cluster.project import ROOT
from tests.deploy.machine import Machine, run
from tests.measured import tell

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

USER_DATA = ROOT / "deploy/cloud-init.yaml"


@pytest.fixture(scope="module")
def second(image: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with Machine("taskyard-test-vm2", tmp_path_factory.mktemp("vm2")) as started:
        yield started


def first_boot(machine: Machine, source: Path, folder: Path) -> None:
    """Do what cloud-init does with the file, in its order; the repository is a file that holds this source."""
    told: dict[str, Any] = yaml.safe_load(USER_DATA.read_text())
    assert told.keys() == {"write_files", "package_update", "packages", "runcmd"}
    bundle = folder / "source.bundle"
    run("git", "branch", "--force", "main", cwd=source, check=False)
    run("git", "bundle", "create", "--quiet", str(bundle), "main", cwd=source)
    run("docker", "cp", str(bundle), f"{machine.name}:/root/source.bundle")
    for file in told["write_files"]:
        assert "REPOSITORY=https://git.example.org/you/taskyard.git\n" in file["content"]
        content = file["content"].replace("https://git.example.org/you/taskyard.git", "/root/source.bundle")
        machine.inside(f"cat >{file['path']} && chmod {file['permissions']} {file['path']}", given=content)
    machine.inside(f"apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q {shlex.join(told['packages'])}")
    for words in told["runcmd"]:
        print(machine.inside(shlex.join(words)))


def test_the_file_is_valid_by_cloud_inits_own_check(second: Machine) -> None:
    second.inside("apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends cloud-init")
    second.inside("cat >/root/user-data", given=USER_DATA.read_text())
    assert "Valid schema" in second.inside("cloud-init schema --config-file /root/user-data")
    second.inside("cat >/root/user-data", given=USER_DATA.read_text().replace("runcmd:", "runcmd: 1\nother:"))
    assert "rror" in second.inside("cloud-init schema --config-file /root/user-data", check=False)


def test_a_machine_gets_to_results_by_the_files_commands(second: Machine, source: Path, image: str, tmp_path: Path) -> None:
    # Only to be done sooner: that it is built where there is none, test_machine.py shows.
    second.inside("cat >/root/bootstrap.sh && bash /root/bootstrap.sh", given=(ROOT / "deploy/bootstrap.sh").read_text())
    run("bash", "-c", f"docker save {image} | docker exec -i {second.name} docker load")
    begun = monotonic()
    first_boot(second, source, tmp_path)
    tell(f"cloud-init.yaml's commands, with engine and base image there: {monotonic() - begun:.0f} s")
    assert second.cli("submit", "square", "7", "--job", "seven", "--wait") == '"7 * 7 = 49"\n'
    assert "TASKYARD_LOG_LEVEL=info" in second.inside("cat /opt/taskyard/.env")


def test_the_unit_for_systemd_is_one_that_it_takes(second: Machine) -> None:
    second.inside("DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends systemd")
    second.inside("systemd-analyze verify /opt/taskyard/deploy/taskyard.service")


def test_after_a_boot_it_goes_on_with_what_it_had(second: Machine) -> None:
    run("docker", "restart", "--time", "5", second.name)
    begun = monotonic()
    second.inside("/opt/taskyard/deploy/on-host.sh boot")
    tell(f"from a boot to healthy: {monotonic() - begun:.0f} s")
    assert json.loads(second.cli("results", "seven", "--json"))["state"] == "done"
    assert second.cli("submit", "square", "8", "--wait") == '"8 * 8 = 64"\n'


def drill() -> list[str]:
    """The commands of docs/operations.md that bring a backup back on a second machine."""
    section = (ROOT / "docs/operations.md").read_text().split("## Disaster drill")[1].split("\n## ")[0]
    return re.findall(r"`(make (?!deploy)[^`]+)`", section)


def test_a_backup_of_the_first_machine_is_brought_back_on_the_second(machine: Machine, second: Machine, tmp_path: Path) -> None:
    back_up, restore, verify = drill()
    path = machine.inside(f"cd /opt/taskyard && {back_up}").split("backup: ")[-1].split(",")[0]
    run("docker", "cp", f"{machine.name}:{path}", str(tmp_path / "queue.db.gz"))
    run("docker", "cp", str(tmp_path / "queue.db.gz"), f"{second.name}:/root/queue.db.gz")
    begun = monotonic()
    second.inside(f"cd /opt/taskyard && {restore.replace('FILE', '/root/queue.db.gz')}")
    tell(f"a backup of the queue brought back on a second machine: {monotonic() - begun:.0f} s")
    assert second.cli("results", "slow", "--json") == machine.cli("results", "slow", "--json")
    second.inside(f"cd /opt/taskyard && {verify}")


def test_what_an_update_has_kept_is_such_a_backup_too(machine: Machine, second: Machine, tmp_path: Path) -> None:
    copies = "ls -t /opt/taskyard/backups/before-*.db.gz | head -n 1"
    run("docker", "cp", f"{machine.name}:{machine.inside(copies).strip()}", str(tmp_path / "before.db.gz"))
    run("docker", "cp", str(tmp_path / "before.db.gz"), f"{second.name}:/root/before.db.gz")
    second.inside("cd /opt/taskyard && make restore FROM=/root/before.db.gz")
    assert second.cli("results", "slow", "--json") == machine.cli("results", "slow", "--json")


def test_a_damaged_backup_is_refused_and_changes_nothing(second: Machine) -> None:
    before = second.inside("docker ps --no-trunc -q | sort")
    second.inside("head -c 500 /root/queue.db.gz >/root/half.db.gz")
    assert "nothing was changed" in second.inside("cd /opt/taskyard && make restore FROM=/root/half.db.gz", check=False)
    assert second.inside("docker ps --no-trunc -q | sort") == before
