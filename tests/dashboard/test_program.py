"""The program: ``python -m dashboard`` in front of a real master, with a real worker."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bench.ports import free_port
from tests.contract.master_process import MasterProcess
from tests.dashboard.test_submit import API
from tests.harness import wait_until
from tests.programs.worker_process import WorkerProcess, environment_of, run


class DashboardProcess:
    """Runs from the moment that it is made until `close`, or until it ends by itself."""

    def __init__(self, master: MasterProcess, folder: Path, **settings: Any) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = free_port()
        settings = {"dashboard_port": self.port, "dashboard_data": folder / "data", **settings}
        self.environment = environment_of(master, **settings)
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dashboard"], cwd=folder, env=self.environment, stdout=log, stderr=log
            )
        wait_until(lambda: self.process.poll() is not None or "serving" in self.log(), "it serves", 30)
        self.url = f"http://127.0.0.1:{self.port}"

    def log(self) -> str:
        return (self.folder / "log").read_text()

    def client(self) -> httpx.Client:
        token = (self.folder / "data/token").read_text().strip()
        return httpx.Client(base_url=self.url, headers={"Authorization": f"Bearer {token}"}, timeout=20)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(20)


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MasterProcess]:
    with MasterProcess(tmp_path_factory.mktemp("master") / "own") as process:
        yield process


@pytest.fixture(scope="module")
def worker(master: MasterProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerProcess]:
    process = WorkerProcess(master, tmp_path_factory.mktemp("worker") / "own")
    process.wait_for("ready  ")
    yield process
    process.close()


@pytest.fixture
def program(master: MasterProcess, tmp_path: Path) -> Iterator[DashboardProcess]:
    process = DashboardProcess(master, tmp_path / "dashboard")
    yield process
    process.close()


def test_what_is_submitted_over_rest_is_run_and_its_value_comes_back(program: DashboardProcess, worker: WorkerProcess) -> None:
    value = {"a": [1, 2.5, None, True, "ü"], "b": {"c": []}}
    calls = [
        {"name": "give_back", "args": [value]},
        {"name": "pair", "kwargs": {"first": 1, "second": [2]}},
        {"name": "find_road", "args": ["Rome"]},
        {"name": "repeat", "args": [3]},
    ]
    with program.client() as client:
        job = client.post(f"{API}/jobs", json={"tasks": calls}).json()
        told: dict[str, Any] = {}
        cursor = 0
        while len(told) < len(calls):
            page = client.get(f"{API}/jobs/{job['job']}/results", params={"after": cursor, "wait": 5}).json()
            told |= {one["id"]: one for one in page["results"]}
            cursor = page["cursor"]
        back, pair, road, raw = (told[task_id] for task_id in job["ids"])
        assert (back["state"], back["value"]) == ("done", value)
        assert pair["value"] == [1, [2]]
        assert (road["state"], road["cause"]) == ("failed", "exception: LookupError: no road to Rome")
        assert "LookupError: no road to Rome" in road["traceback"]
        assert raw["state"] == "failed"  # what is called with JSON has to return what JSON holds
        assert "bytes" in raw["cause"]


def test_the_log_has_the_link_that_signs_a_browser_in_and_so_has_the_command(program: DashboardProcess) -> None:
    (link,) = wait_until(lambda: re.findall(r"link='?(http://\S+?)'?\s", program.log()), "it is told", 10)
    assert link.startswith(f"{program.url}/sign-in#token=")
    printed = run(program.environment, "dashboard", "link").stdout
    assert link in printed
    token = link.split("=")[1]
    with httpx.Client(base_url=program.url, headers={"Origin": program.url}) as browser:
        assert browser.post("/sign-in", data={"token": token}).status_code == 303
        assert browser.get(f"{API}/stats").status_code == 200


def test_a_token_of_somebodys_own_is_not_printed(master: MasterProcess, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("a token of my own that is long enough for it")
    program = DashboardProcess(master, tmp_path / "dashboard", dashboard_token_file=own)
    assert httpx.get(f"{program.url}/healthz", timeout=20).status_code == 200  # by then it would be there
    program.close()
    assert "link" not in program.log()


def test_health_tells_whether_it_serves(program: DashboardProcess) -> None:
    assert (run(program.environment, "dashboard", "health").returncode, program.process.poll()) == (0, None)
    listening = {**program.environment, "DASHBOARD_LISTEN": f"0.0.0.0:{program.port}", "DASHBOARD_PORT": "1"}
    assert run(listening, "dashboard", "health").returncode == 0
    program.close()
    assert run(program.environment, "dashboard", "health").returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_streams_and_the_program_well(
    number: signal.Signals, program: DashboardProcess, worker: WorkerProcess
) -> None:
    with program.client() as client:
        job = client.post(f"{API}/tasks", json={"name": "give_back", "args": [1], "delay": 600}).json()["job"]
        with client.stream("GET", f"{API}/jobs/{job}/events") as response:
            lines = response.iter_lines()
            assert next(lines).startswith("retry:")
            program.process.send_signal(number)
            list(lines)
    assert program.process.wait(10) == 0
    assert "Traceback" not in program.log()


def test_a_frozen_master_is_told_in_time(tmp_path: Path) -> None:
    with MasterProcess(tmp_path / "master") as frozen:
        program = DashboardProcess(frozen, tmp_path / "dashboard")
        with program.client() as client:
            assert client.get("/readyz").status_code == 200
            assert frozen.process is not None
            frozen.process.send_signal(signal.SIGSTOP)
            assert client.get("/readyz").status_code == 503
            assert "taskyard_up 0.0" in client.get("/metrics").text
            assert client.get("/healthz").elapsed.total_seconds() < 4
            frozen.process.send_signal(signal.SIGCONT)
            wait_until(lambda: client.get("/readyz").status_code == 200, "the queue answers", 20)
        program.close()


def test_it_waits_for_a_master_that_is_not_there_yet(tmp_path: Path) -> None:
    absent = MasterProcess(tmp_path / "master")
    program = DashboardProcess(absent, tmp_path / "dashboard")
    with program.client() as client:
        assert client.get("/healthz").status_code == 200
        assert client.get("/readyz").status_code == 503
        absent.start()
        wait_until(lambda: client.get("/readyz").status_code == 200, "the queue answers", 20)
    program.close()
    absent.close()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"dashboard_listen": "nowhere"}, "DASHBOARD_LISTEN='nowhere'"),
        ({"dashboard_listen": "127.0.0.1:99999"}, "DASHBOARD_LISTEN='127.0.0.1:99999'"),
        ({"dashboard_listen": "192.0.2.1:8080"}, "can't listen on 192.0.2.1:8080"),
        ({"dashboard_data": "/proc/none"}, "DASHBOARD_DATA"),
        ({"dashboard_token_file": "/nowhere"}, "/nowhere"),
    ],
)
def test_a_setting_that_makes_no_sense_is_named(
    settings: dict[str, str], said: str, master: MasterProcess, tmp_path: Path
) -> None:
    program = DashboardProcess(master, tmp_path / "dashboard", **settings)
    assert program.process.wait(10) == 78
    assert said in program.log()
    assert "Traceback" not in program.log()


def test_a_bare_import_of_the_health_command_takes_nothing_of_the_rest(program: DashboardProcess) -> None:
    loaded = "import sys, dashboard.__main__; print('fastapi' in sys.modules, 'pydantic' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", loaded], env=program.environment, capture_output=True, text=True, check=True)
    assert ended.stdout == "False False\n"
