"""What the images hold, file by file: nothing to build with, nothing left of building, nothing that lends or takes rights."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.project import ENVIRONMENT, ROOT, SHIPPED, Project

USER = 10001
IMAGES = {name: f"taskyard/{name}:{ENVIRONMENT['TASKYARD_VERSION']}" for name in ("master", "worker", "dashboard")} | {
    "smtp": "taskyard-test-mail-smtp"
}
DATA = {
    "master": {"/var/lib/taskyard", "/run/taskyard", "/run/taskyard-nats", "/run/taskyard-nats-master"},
    "worker": {"/run/taskyard", "/run/taskyard-nats"},
    "smtp": {"/var/mail/taskyard"},
    "dashboard": {"/var/lib/taskyard-dashboard", "/run/taskyard", "/run/taskyard-nats"},
}
"""Folders in which volumes are mounted."""
SOURCE = {
    "master": [*ROOT.glob("taskyard/**/*"), *ROOT.glob("master/**/*")],
    "worker": [*ROOT.glob("taskyard/**/*"), *ROOT.glob("worker/**/*"), *ROOT.glob("app/**/*")],
    "dashboard": [*ROOT.glob("taskyard/**/*"), *ROOT.glob("dashboard/**/*")],
}
BUILDER = re.compile(
    r".*/(bin|sbin|libexec|lib)/(.*/)?([\w.-]+-)?"
    r"(gcc|g\+\+|cc|c\+\+|cc1|cc1plus|cpp|clang|tcc|make|cmake|ninja|ld|ld\.bfd|as|rustc|cargo|go|gdb|git)(-[\d.]+)?"
)
REMNANT = re.compile(
    r"/var/lib/apt/lists/.+|/var/cache/apt/(archives/.+\.deb|\w+\.bin)|(/tmp|/var/tmp)/.+|(.*/)?\.cache/.+"
    r"|.*/\.(\w*history|wget-hsts|lesshst|viminfo|gitconfig|netrc|pypirc|env|authkey)"
    r"|(.*/)?(\.git|\.ssh|\.venv|\.hypothesis)(/.*)?"
)
PRIVATE_KEY = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----")


@dataclass(frozen=True)
class Entry:
    """A file or a folder."""

    path: str
    mode: int
    uid: int
    gid: int
    is_file: bool
    capabilities: bool
    private_key: bool

    @property
    def writable(self) -> bool:
        """Whether the image's user could write here; an owner can give itself the right."""
        return self.uid == USER or bool(self.mode & (0o020 if self.gid == USER else 0o002))


@dataclass(frozen=True)
class Image:
    """An image as its containers see it."""

    name: str
    config: dict[str, Any]
    entries: list[Entry]

    def paths(self) -> list[str]:
        return [entry.path for entry in self.entries]


def read_image(tag: str, name: str) -> Image:
    """Read an image by the engine, not by programs of its own, and without what is mounted at run time."""
    config = json.loads(subprocess.check_output(["docker", "image", "inspect", tag]))[0]["Config"]
    container = subprocess.check_output(["docker", "create", "--pull=never", tag], text=True).strip()
    export = subprocess.Popen(["docker", "export", container], stdout=subprocess.PIPE)
    try:
        assert export.stdout is not None
        with export.stdout, tarfile.open(fileobj=export.stdout, mode="r|") as archive:
            entries = [read_entry(archive, member) for member in archive if member.isfile() or member.isdir()]
            while export.stdout.read(2**16):  # what fills an archive up behind its end
                pass
        assert export.wait(60) == 0
    finally:
        subprocess.run(["docker", "rm", "--force", container], check=True, capture_output=True)
    assert len(entries) > 1000
    return Image(name, config, [entry for entry in entries if not entry.path.startswith("/dev")])


def read_entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    content = archive.extractfile(member) if member.isfile() and member.size < 2**20 else None
    return Entry(
        path="/" + member.name.strip("./"),
        mode=member.mode & 0o7777,
        uid=member.uid,
        gid=member.gid,
        is_file=member.isfile(),
        capabilities="SCHILY.xattr.security.capability" in member.pax_headers,
        private_key=content is not None and PRIVATE_KEY.search(content.read()) is not None,
    )


@pytest.fixture(scope="module")
def mail(built: None) -> Project:
    """Has the SMTP server of the example beside the images that are built already."""
    return Project("taskyard-test-mail", [SHIPPED, ROOT / "examples/mail/compose.yaml"])


@pytest.fixture(scope="module", params=list(IMAGES))
def image(mail: Project, request: pytest.FixtureRequest) -> Image:
    if request.param == "smtp":
        mail.compose("build", "--quiet", "smtp")
    return read_image(IMAGES[request.param], request.param)


def test_an_image_has_nothing_to_build_with(image: Image) -> None:
    assert [entry.path for entry in image.entries if entry.is_file and BUILDER.fullmatch(entry.path)] == []
    assert [path for path in image.paths() if path.startswith("/opt/venv/") and "pip" in path.split("/")] == []


def test_an_image_keeps_no_caches_no_history_no_settings_and_nothing_temporary(image: Image) -> None:
    assert [path for path in image.paths() if REMNANT.fullmatch(path)] == []


def test_no_file_of_an_image_lends_rights(image: Image) -> None:
    files = [entry for entry in image.entries if entry.is_file]
    assert [entry.path for entry in files if entry.mode & 0o6000 or entry.capabilities] == []


def test_only_in_tmp_may_everybody_write(image: Image) -> None:
    assert [(entry.path, oct(entry.mode)) for entry in image.entries if entry.mode & 0o002] == [("/tmp", "0o1777")]


def test_the_user_of_an_image_is_a_number_and_can_write_its_data_and_nothing_else(image: Image) -> None:
    assert image.config["User"] == f"{USER}:{USER}"
    assert {entry.path for entry in image.entries if entry.writable} == DATA[image.name] | {"/tmp"}


def test_an_image_holds_no_key_and_its_environment_no_secret(image: Image) -> None:
    assert [entry.path for entry in image.entries if entry.private_key] == []
    names = [variable.split("=")[0] for variable in image.config["Env"]]
    assert [name for name in names if re.search("KEY|TOKEN|SECRET|PASSWORD", name) and name != "GPG_KEY"] == []


def test_of_the_source_an_image_holds_what_it_runs(image: Image) -> None:
    source = SOURCE.get(image.name)
    expected = ["/srv/server.py"] if source is None else [f"/srv/{file.relative_to(ROOT)}" for file in source if file.is_file()]
    held = [entry.path for entry in image.entries if entry.is_file and entry.path.startswith("/srv/")]
    assert sorted(path for path in held if "__pycache__" not in path) == sorted(p for p in expected if "__pycache__" not in p)


@pytest.fixture
def private_clone(tmp_path: Path) -> Path:
    """What the images are built from, as a clone under umask 077 has it."""
    for name in ("app", "master", "taskyard", "worker", "requirements", ".dockerignore"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    for path in tmp_path.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return tmp_path


@pytest.fixture
def private_image(mail: Project, private_clone: Path) -> Iterator[Image]:
    tag = "taskyard/worker:test-private"
    base = json.loads(mail.compose("config", "--format", "json"))["services"]["worker"]["build"]["args"]["PYTHON_IMAGE"]
    build = ["docker", "buildx", "build", "--quiet", "--load", "--build-arg", f"PYTHON_IMAGE={base}", "--tag", tag]
    subprocess.run([*build, "--file", ROOT / "worker/Dockerfile", private_clone], check=True, capture_output=True)
    yield read_image(tag, "worker")
    subprocess.run(["docker", "image", "rm", tag], check=True, capture_output=True)


def test_an_image_of_a_clone_that_only_its_owner_can_read_can_be_run_all_the_same(private_image: Image) -> None:
    source = [entry for entry in private_image.entries if entry.path.startswith("/srv/")]
    assert len(source) > 20
    assert [entry.path for entry in source if not entry.mode & 0o004 or not (entry.is_file or entry.mode & 0o001)] == []


def test_the_bills_of_material_name_what_the_image_has_in_the_versions_that_it_has(
    built: None, audit_python: Path, tmp_path: Path
) -> None:
    subprocess.run([audit_python, "-m", "supply.sbom", "--out", tmp_path, IMAGES["worker"]], cwd=ROOT, check=True)
    run = ["docker", "run", "--rm", "--network=none", IMAGES["worker"]]
    versions = "import importlib.metadata as m; print(*(f'{d.name}={d.version}' for d in m.distributions()), sep='\\n')"
    python = subprocess.check_output([*run, "python", "-c", versions], text=True).split()
    debian = subprocess.check_output([*run, "dpkg-query", "-W", "-f", "${Package}=${Version}\\n"], text=True).split()
    assert components(tmp_path / "worker.python.cdx.json") == sorted(python)
    told = components(tmp_path / "worker.debian.cdx.json")
    assert [package for package in debian if package not in told] == []
    assert "structlog=" in str(python)
    assert "libc6=" in str(debian)


def components(bill: Path) -> list[str]:
    document = json.loads(bill.read_text())
    assert (document["bomFormat"], document["specVersion"]) == ("CycloneDX", "1.6")
    return sorted(f"{component['name']}={component['version']}" for component in document["components"])
