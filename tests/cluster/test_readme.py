"""The README's commands, word for word, in a fresh clone: what a new user types is what is tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import ip_network
from pathlib import Path

import pytest

from bench.ports import free_port
from tests.cluster.clone import blocks_of, make_clone, remove_cluster, typed
from tests.cluster.project import Project, clean_environment
from tests.harness import wait_until

NAMES = {"COMPOSE_PROJECT_NAME": "taskyard-readme", "PROJECT": "taskyard-readme-mail"}
OWN_IMAGES = {"TASKYARD_VERSION": "readme"}  # since one of these tests edits the app
ENVIRONMENT = clean_environment(**NAMES, **OWN_IMAGES)
BLOCKS = blocks_of("README.md")
NEW_TASK = """

@task(retries=3, backoff=1.0, time_limit=60)
def cube(n: int) -> str:
    return f"{n} cubed is {n ** 3}"
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh clone; its cluster is removed at the end."""
    folder = tmp_path_factory.mktemp("clone") / "taskyard"
    make_clone(folder)
    clean_up(folder)
    yield folder
    clean_up(folder)


def clean_up(folder: Path) -> None:
    for name in NAMES.values():
        remove_cluster(folder, ENVIRONMENT | {"COMPOSE_PROJECT_NAME": name})


def type_in(block: str, folder: Path) -> str:
    return typed(block, folder, ENVIRONMENT)


def block_with(words: str) -> str:
    (found,) = [block for kind, block in BLOCKS if kind == "sh" and words in block]
    return str(found)


def test_every_command_of_the_readme_is_run_by_a_test() -> None:
    """Blocks marked ``sh`` are run below; those marked ``console`` don't end by themselves, or would run this test."""
    assert [block for kind, block in BLOCKS if kind == "console"] == [
        "make test\n",  # this
        "make watch\n",  # below
        "make deploy-swarm\n",  # tests/swarm
        "make deploy HOST=debian@vm.example.org\n",  # tests/deploy
        "python -m master\npython -m worker\npython -m app.job\n",  # tests/programs
    ]
    tested = ["make up\n", "--exit-code-from job", "make status", "cli submit", "--entrypoint python", "make mail", "make down"]
    tested[4:4] = ["eval", "make certs", "--no-deps --scale worker=3", "ENGINE=nats", "taskyard local"]
    assert [block for kind, block in BLOCKS if kind == "sh"] == [block_with(words) for words in tested]


def test_make_up_prints_ten_results_and_a_summary_and_leaves_a_healthy_cluster(clone: Path) -> None:
    said = type_in(block_with("make up\n"), clone)
    assert len(re.findall(r"^Result: \d+ \* \d+ = \d+$", said, re.MULTILINE)) == 10
    assert re.search(r"^10 of 10 results in .* s, by [1-5] workers$", said, re.MULTILINE)
    assert "The cluster is healthy." in said
    assert type_in("docker compose ps --format '{{.Health}}'", clone).split() == ["healthy"] * 7


def test_plain_compose_prints_ten_results_and_ends_with_the_jobs_code(clone: Path) -> None:
    assert type_in(block_with("--exit-code-from job"), clone).count("| Result: ") == 10


def test_a_cluster_in_the_background_can_be_looked_at_given_jobs_and_scaled(clone: Path) -> None:
    said = type_in(block_with("make status"), clone)
    assert re.search(r"^done\t\d0$", said, re.MULTILINE)
    assert re.search(r"10 of 10 results in .* s, by 5 workers", said)
    assert "Usage: taskyard" in said
    assert type_in("docker compose ps worker --format '{{.Health}}'", clone).split() == ["healthy"] * 8


def test_the_command_line_submits_maps_shows_and_verifies(clone: Path) -> None:
    said = type_in(block_with("cli submit"), clone)
    assert "12 * 12 = 144" in said
    assert '"1000 * 1000 = 1000000"' in said
    assert re.search(r"^ready\t\d+$", said, re.MULTILINE)
    assert "exactly one end" in said


@pytest.fixture(scope="module")
def virtual_environment(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A command that makes the shell use one of the test's own."""
    folder = tmp_path_factory.mktemp("venv")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return f"PATH={folder}/bin:$PATH\n"


def test_who_wants_to_join_a_queue_that_is_not_published_is_told_how(clone: Path) -> None:
    said = type_in("! make connect", clone)
    assert "put COMPOSE_FILE=compose.yaml:compose.publish.yaml into .env" in said


def test_the_dashboards_commands_print_its_links_and_start_prometheus(clone: Path) -> None:
    links, monitoring = [block for kind, block in blocks_of("docs/dashboard.md") if kind == "sh"]
    said = type_in(links, clone)
    assert re.findall(r"^(.+?): +http://127\.0\.0\.1:\d+/sign-in#token=\S+$", said, re.MULTILINE) == ["everything", "to look on"]
    type_in("export PROMETHEUS_PORT=0\n" + monitoring, clone)
    assert type_in("docker compose ps prometheus --all --format '{{.Health}}'", clone).split() == ["healthy"]


def test_programs_on_the_host_join_a_queue_that_is_published(clone: Path, virtual_environment: str) -> None:
    said = type_in(virtual_environment + f"export PUBLISHED_PORT={free_port()}\n" + block_with("eval"), clone)
    assert said.splitlines()[-1] == '"12 * 12 = 144"'
    (clone / ".env").write_text((clone / ".env").read_text().replace("COMPOSE_FILE", "#COMPOSE_FILE"))


GATEWAY = "services: { worker: { extra_hosts: ['queue.example.org:host-gateway'] } }"
"""Stands for the name service: the address of this host by which containers of another network reach it."""


def test_workers_on_another_host_join_over_tls(clone: Path, tmp_path: Path) -> None:
    (clone / ".env").touch()
    before = (clone / ".env").read_text()
    network = json.loads(type_in("docker network inspect bridge", clone))[0]
    told = network["IPAM"]["Config"][0]
    gateway = told.get("Gateway") or str(ip_network(told["Subnet"])[1])  # an engine's own choice is not always told
    settings = {"PUBLISHED_ADDRESS": gateway, "PUBLISHED_PORT": str(free_port())}
    block = block_with("make certs")
    (names,) = re.findall(r'make certs NAMES="(.+)"', block)
    exports = "".join(f"export {name}={value}\n" for name, value in settings.items())
    key = type_in(exports + block, clone).splitlines()[-1]
    assert "queue.example.org" in names
    told = type_in("deploy/connect.sh", clone)
    assert f"TASKYARD_URL=managers://{settings['PUBLISHED_ADDRESS']}:{settings['PUBLISHED_PORT']} " in told
    assert f"TASKYARD_TLS_CA={clone}/certs/ca.pem " in told

    other = tmp_path / "taskyard"
    shutil.copytree(clone, other, ignore=shutil.ignore_patterns(".env", "certs", ".authkey"))
    (other / "certs").mkdir()
    for name in ("ca.pem", "client.pem", "client.key"):
        shutil.copy2(clone / "certs" / name, other / "certs")
        shutil.chown(other / "certs" / name, (clone / "certs" / name).stat().st_uid)
    (other / "gateway.yaml").write_text(GATEWAY)
    joining = f"managers://queue.example.org:{settings['PUBLISHED_PORT']}"
    lines = ["COMPOSE_FILE=compose.yaml:compose.join.yaml:gateway.yaml", f"CLUSTER_URL={joining}", f"TASKYARD_AUTHKEY={key}"]
    (other / ".env").write_text(before + "\n".join(lines) + "\n")
    name = "export COMPOSE_PROJECT_NAME=taskyard-readme-other\n"
    try:
        type_in(name + block_with("--no-deps --scale worker=3"), other)
        joined = "docker compose run --rm -T cli workers --json"
        wait_until(lambda: type_in(joined, clone).count('"session"') == 8, "three more workers", 60)
        assert "12 * 12 = 144" in type_in("docker compose run --rm -T cli submit square 12 --wait", clone)
    finally:
        type_in(name + "docker compose down --volumes", other)
        (clone / ".env").write_text(before)
        type_in("docker compose up --detach --wait --scale worker=5", clone)  # without TLS, as the tests behind this one expect


def test_a_queue_on_nats_with_two_masters_outlives_the_one_that_leads(tmp_path: Path) -> None:
    environment = ENVIRONMENT | {"COMPOSE_PROJECT_NAME": "taskyard-readme-nats", "DASHBOARD_PORT": str(free_port())}
    folder = tmp_path / "taskyard"
    make_clone(folder)
    remove_cluster(folder, environment)
    said = typed(block_with("ENGINE=nats"), folder, environment)
    assert "10 of 10 results in" in said
    first = typed("docker compose ps --quiet master", folder, environment).split()
    assert len(first) == 2
    typed("docker kill $(docker compose ps --quiet master | head -n 1)", folder, environment)
    assert "12 * 12 = 144" in typed('make cli C="submit square 12 --wait"', folder, environment)
    assert "10 of 10 results in" in typed("make down\nmake up ENGINE=embedded", folder, environment)
    remove_cluster(folder, environment)


def test_a_cluster_without_docker_runs_the_job(clone: Path, virtual_environment: str) -> None:
    said = type_in(virtual_environment + block_with("taskyard local"), clone)
    assert re.search(r"^10 of 10 results in .* s, by 2 workers$", said, re.MULTILINE)


def test_the_tutorials_program_works_as_it_stands_in_the_readme(clone: Path) -> None:
    said = type_in(block_with("--entrypoint python"), clone)
    assert said.splitlines()[-1] == "Result: 7872 * 7872 = 61968384"


def test_the_mail_queue_delivers_fifty_mails_exactly_once_each(clone: Path) -> None:
    said = type_in(block_with("make mail"), clone)
    assert "50 mails sent: 50 arrived exactly once, 0 not, 0 twice" in said


def test_make_down_stops_the_cluster_and_keeps_its_results(clone: Path) -> None:
    type_in(block_with("make down"), clone)
    assert not type_in("docker ps --all --quiet --filter name=taskyard-readme-", clone)
    kept = type_in("docker volume ls --quiet --filter name=taskyard-readme_", clone).split()
    assert kept == [f"taskyard-readme_{name}" for name in ("dashboard", "data", "key", "prometheus")]


def test_make_watch_brings_an_edited_app_into_the_workers(clone: Path, tmp_path: Path) -> None:
    project = Project(NAMES["COMPOSE_PROJECT_NAME"], [clone / "compose.yaml"], **OWN_IMAGES)
    said = tmp_path / "said"
    with said.open("wb") as output:
        watch = subprocess.Popen(
            ["make", "watch"],
            cwd=clone,
            env=ENVIRONMENT | {"COMPOSE_PROGRESS": "plain"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def is_up() -> bool:
        assert watch.poll() is None, said.read_text()
        return "10 of 10" in project.log("job")

    try:
        try:
            wait_until(is_up, "it is up", 300)  # images whose cached layers are gone are built anew
        except AssertionError as error:
            error.add_note(said.read_text())
            raise
        wait_until(lambda: len(project.workers_heard_of()) == 5, "the workers have joined")
        tasks, job = clone / "app/tasks.py", clone / "app/job.py"
        tasks.write_text(tasks.read_text() + NEW_TASK)
        job.write_text(job.read_text().replace("square", "cube"))
        wait_until(lambda: ["cube" in w["tasks"] for w in project.workers_heard_of()] == [True] * 5, "all know it", 240)
        assert len(re.findall(r"Result: \d+ cubed is \d+", type_in("make job", clone))) == 10
    finally:
        os.killpg(watch.pid, signal.SIGINT)  # as Ctrl-C does it
        watch.wait(60)


@pytest.mark.parametrize(
    ("mistake", "told"),
    [
        ("docker compose run --rm cli nonsense", "No such command 'nonsense'"),
        ("docker compose run --rm -e TASKYARD_URL=master:5000 cli health", "expected manager://HOST:PORT"),
        ("WORKER_SLOTS=many docker compose run --rm --no-deps worker", "WORKER_SLOTS='many'"),
        ("WORKER_APP=app.task docker compose run --rm --no-deps worker", "No module named 'app.task'"),
        ("docker compose run --rm --no-deps job python -m app.job ten", "invalid int value: 'ten'"),
    ],
)
def test_a_mistake_is_told_in_words(clone: Path, mistake: str, told: str) -> None:
    type_in("docker compose up --detach --wait master", clone)
    ended = subprocess.run(["bash", "-c", mistake], cwd=clone, env=ENVIRONMENT, text=True, capture_output=True)
    said = ended.stdout + ended.stderr
    assert ended.returncode != 0
    assert told in " ".join(said.replace("│", " ").split())
    assert "Traceback" not in said
