"""README, .env.example, compose.yaml and Makefile say of settings, options and exit codes what the programs do."""

from __future__ import annotations

import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest
from typer.main import get_command

import taskyard
from taskyard import errors
from taskyard.cli.base import app
from taskyard.options import Options
from taskyard.settings import Settings, load_settings
from worker.supervisor import LAST_WORDS_SECONDS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
COMPOSE_FILE = "".join(path.read_text() for path in sorted(ROOT.glob("compose*.yaml")))
COMPOSE = dict.fromkeys(re.findall(r"\$\{(\w+):\+", COMPOSE_FILE), "")
COMPOSE |= re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE_FILE)
"""Variables of the compose files with their defaults."""
STACKS = "".join(path.read_text() for path in sorted(ROOT.glob("deploy/stack*.yaml")))
STACK = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", STACKS))
"""The same of the stacks for Swarm."""
SWARM = set(
    re.findall(
        r"\$\{([A-Z_]+):-", "".join(path.read_text() for path in [ROOT / "deploy/swarm.sh", *ROOT.glob("deploy/swarm/*.sh")])
    )
)
"""Variables of the script that deploys them."""
EXAMPLE = dict(re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
"""Variables of .env.example with their defaults."""
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("examples/*/*.md")]


def rows_of_table(heading: str) -> list[list[str]]:
    """Cells of the README's table that begins with this heading."""
    table = README.split(f"| {heading} |")[1].split("\n\n")[0]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in table.splitlines()[2:]]


def readme_defaults() -> dict[str, str]:
    defaults: dict[str, str] = {}
    for names, values, _ in rows_of_table("setting"):
        defaults |= zip(re.findall(r"`(\w+)`", names), values.replace("`", "").split(", "), strict=True)
    return defaults


def test_every_setting_stands_in_the_example() -> None:
    assert {name.upper() for name in Settings.model_fields} - EXAMPLE.keys() == set()


def test_every_variable_of_the_example_is_read_by_somebody() -> None:
    assert EXAMPLE.keys() - {name.upper() for name in Settings.model_fields} - COMPOSE.keys() - STACK.keys() - SWARM == set()


def test_the_example_as_it_stands_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in EXAMPLE.items()))
    assert load_settings() == Settings.model_construct()


def test_compose_and_the_example_tell_the_same_defaults() -> None:
    assert {name: EXAMPLE.get(name) for name in COMPOSE} == COMPOSE


def test_stacks_and_the_example_tell_the_same_defaults() -> None:
    assert STACK["WORKERS"] == "3", "as the example says in words"
    assert {name: EXAMPLE.get(name) for name in STACK} | {"WORKERS": "3"} == STACK
    assert SWARM - EXAMPLE.keys() == set()


def test_compose_gives_each_variable_one_default() -> None:
    for name, default in re.findall(r"\$\{(\w+):-([^}]*)\}", COMPOSE_FILE):
        assert default == COMPOSE[name]


def test_every_setting_that_compose_passes_on_is_one() -> None:
    passed_on = set(re.findall(r"^ +([A-Z][A-Z_]+):", COMPOSE_FILE, re.MULTILINE))
    assert {"MASTER_HOST", "WORKER_APP", "TASKYARD_AUTHKEY"} <= passed_on
    of_nats = re.findall(r"^(NATS_\w+)=\$\{\1:-", (ROOT / "deploy/nats/start.sh").read_text(), re.MULTILINE)
    assert passed_on - {name.upper() for name in Settings.model_fields} - set(of_nats) == set()


def test_compose_kills_no_worker_that_still_lets_its_tasks_finish() -> None:
    (stop_grace_period,) = re.findall(r'stop_grace_period: "(\d+)s"', COMPOSE_FILE)
    assert int(stop_grace_period) > float(COMPOSE["WORKER_GRACE"]) + LAST_WORDS_SECONDS
    assert f"`stop_grace_period` ({stop_grace_period} s)" in README


def test_compose_and_the_readme_tell_the_same_defaults() -> None:
    told = readme_defaults()
    # The row of the worker's limits names the master's beside them, with the same defaults.
    for name in ("MEMORY", "CPUS"):
        assert f"`MASTER_{name}`" in README
        told[f"MASTER_{name}"] = told[f"WORKER_{name}"]
    assert told.pop("TASKYARD_AUTHKEY") == "made by the master"
    assert told.pop("TLS_CLIENTS") == "not asked"
    assert told == {name: default for name, default in COMPOSE.items() if default}


def test_every_exit_code_stands_in_the_readme() -> None:
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert codes - {errors.TaskyardError.exit_code} == {int(row[0]) for row in rows_of_table("exit code")}


def test_the_readme_tells_every_option_of_a_task_with_its_default() -> None:
    told = {name: row[1] for row in rows_of_table("option") for name in re.findall(r"`(\w+)`", row[0])}
    assert list(told) == [field.name for field in fields(Options)]
    words = {"name": "the function's", "retries": "none after an exception, 2 after a death of the process", "retry_on": "all"}
    words |= dict.fromkeys(("time_limit", "at", "expiry", "key", "cron", "every"), "none")
    rest = {name: getattr(Options(), name) for name in told if name not in words}
    assert told == words | {name: value if isinstance(value, str) else f"{value:.0f}" for name, value in rest.items()}


def test_the_readme_names_every_command() -> None:
    told = [name for row in rows_of_table("command") for name in re.findall(r"`([a-z]+)`", row[0])]
    assert sorted(told) == sorted(get_command(app).commands)  # type: ignore[attr-defined]


def test_make_help_lists_every_target_that_is_not_only_part_of_others() -> None:
    listed = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))  # as `make help` itself looks for them
    phony = set(re.findall(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE))
    parts = {name for needed in re.findall(r"^[a-z-]+:([^#\n]*)", MAKEFILE, re.MULTILINE) for name in needed.split()}
    assert listed - phony == set()
    assert phony - listed - parts == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_says_to_make_can_be_made(page: Path) -> None:
    said = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert said - set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE)) == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_links_to_is_there(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []


def test_the_readmes_list_of_folders_has_those_there_are() -> None:
    listed = set(re.findall(r"(?<!\S)([\w/]+)/(?!\S)", README.split("## Folders\n")[1].split("\n## ")[0]))
    assert [name for name in listed if not (ROOT / name).is_dir()] == []
    packages = {package.parent.name for package in ROOT.glob("*/__init__.py")}
    assert packages - {name.split("/")[0] for name in listed} == set()


def test_package_and_changelog_are_of_one_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["version"] == taskyard.__version__
    assert re.search(rf"^## .*{re.escape(taskyard.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


@pytest.mark.parametrize("program", ["master", "worker"])
def test_the_health_command_looks_where_the_program_shows_its_pulse(program: str) -> None:
    # It reads the environment itself, since importing the settings would take longer than all the rest.
    default = Settings.model_fields[f"{program}_health_file"].default
    assert f'"{program.upper()}_HEALTH_FILE") or "{default}"' in (ROOT / program / "__main__.py").read_text()
