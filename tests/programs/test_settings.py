"""Settings and apps that make no sense: exit 78, and one line that names what to change."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.master_process import MasterProcess
from tests.programs.worker_process import run

WRONG = [
    ("master", "MASTER_PORT", "http"),
    ("master", "MASTER_LEASE", "0"),
    ("master", "MASTER_ADVERTISE", "master"),
    ("master", "MASTER_REPLICAS", "2"),
    ("worker", "WORKER_SLOTS", "0"),
    ("worker", "TASKYARD_LOG", "xml"),
    ("worker", "TASKYARD_URL", "http://127.0.0.1:5000"),
    ("taskyard health", "TASKYARD_URL", "nonsense"),
    ("app.job", "TASKYARD_LOG_LEVEL", "loud"),
]
APPS = {
    "no_such_module": ("", "No module named 'no_such_module'"),
    "imports_nothing": ("import no_such_library\n", "No module named 'no_such_library'"),
    "does_not_parse": ("def task(:\n", "SyntaxError"),
    "divides": ("1 / 0\n", "ZeroDivisionError: division by zero"),
    "has_two_of_a_name": (
        "import app.tasks\nfrom taskyard import task\n@task\ndef square(): ...\n",
        "two tasks are called 'square': in app.tasks and in has_two_of_a_name",
    ),
    "exits": ("import sys\nsys.exit('enough')\n", "SystemExit: enough"),
    "dies": ("import os, signal\nos.kill(os.getpid(), signal.SIGKILL)\n", "slots die while they import"),
}


@pytest.fixture
def environment(own_master: MasterProcess) -> dict[str, str]:
    """Of programs whose master does not run: they never come so far as to need it."""
    return own_master.environment() | {"WORKER_HEALTH_FILE": str(own_master.folder / "worker")}


@pytest.mark.parametrize(("program", "name", "value"), WRONG)
def test_a_bad_setting_is_exit_78_and_one_line_that_names_it(
    program: str, name: str, value: str, environment: dict[str, str]
) -> None:
    ended = run(environment | {name: value}, *program.split())
    assert ended.returncode == 78
    (line,) = ended.stderr.splitlines()
    assert f"{name}={value!r}:" in line or f"{name}={value}:" in line  # a number is shown as one


@pytest.mark.parametrize("program", ["taskyard status", "app.job"])
def test_a_missing_authkeys_file_is_exit_78_and_named(program: str, environment: dict[str, str], tmp_path: Path) -> None:
    missing = tmp_path / "authkey"
    ended = run(environment | {"TASKYARD_AUTHKEY": "", "TASKYARD_AUTHKEY_FILE": str(missing)}, *program.split())
    assert ended.returncode == 78
    (line,) = ended.stderr.splitlines()
    assert f"{missing} can't be read: No such file or directory" in line


@pytest.mark.parametrize(
    ("app", "url"), [*((app, "manager://127.0.0.1:1") for app in APPS), ("imports_nothing", "nats://127.0.0.1:1")]
)
def test_an_app_that_cannot_be_imported_is_exit_78_with_the_reason(
    app: str, url: str, environment: dict[str, str], tmp_path: Path
) -> None:
    code, reason = APPS[app]
    if code:
        (tmp_path / f"{app}.py").write_text(code)
    ended = run(environment | {"WORKER_APP": app, "TASKYARD_URL": url}, "worker", cwd=tmp_path)
    assert ended.returncode == 78
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("worker: ")
    assert app in last
    assert reason in last
    assert "Traceback" not in ended.stderr


def test_a_port_in_use_is_exit_78_and_names_the_port(own_master: MasterProcess, tmp_path: Path) -> None:
    own_master.start()
    ended = run(own_master.environment() | {"MASTER_DATA": str(tmp_path / "other" / "data")}, "master", cwd=tmp_path)
    assert ended.returncode == 78
    last = ended.stderr.splitlines()[-1]
    told = f"master: can't listen on 127.0.0.1:{own_master.port} (MASTER_HOST, MASTER_PORT): Address already in use"
    assert last.startswith(told)
    assert "Traceback" not in ended.stderr
