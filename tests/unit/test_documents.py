"""README, .env.example and compose.yaml say of the settings and exit codes what the programs do."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskyard import errors
from taskyard.settings import Settings, load_settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMPOSE = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / "compose.yaml").read_text()))
"""Variables of compose.yaml with their defaults."""
EXAMPLE = dict(re.findall(r"^#(\w+)=(.*)$", (ROOT / ".env.example").read_text(), re.MULTILINE))
"""Variables of .env.example with their defaults."""
SET_BY_COMPOSE = ("taskyard_url",)
"""Where the default within the cluster, which .env.example tells, is not that of the programs on one host."""


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
    assert EXAMPLE.keys() - {name.upper() for name in Settings.model_fields} - COMPOSE.keys() == set()


def test_the_example_as_it_stands_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    Path(".env").write_text("".join(f"{name}={value}\n" for name, value in EXAMPLE.items()))
    told = load_settings().model_dump(exclude=set(SET_BY_COMPOSE))
    assert told == Settings.model_construct().model_dump(exclude=set(SET_BY_COMPOSE))


def test_compose_and_the_example_tell_the_same_defaults() -> None:
    assert {name: EXAMPLE.get(name) for name in COMPOSE} == COMPOSE


def test_compose_gives_each_variable_one_default() -> None:
    given = set(re.findall(r"\$\{(\w+):-([^}]*)\}", (ROOT / "compose.yaml").read_text()))
    assert len(given) == len(COMPOSE)


def test_compose_and_the_readme_tell_the_same_defaults() -> None:
    told = readme_defaults()
    # The row of the worker's limits names the master's beside them, with the same defaults.
    for name in ("MEMORY", "CPUS"):
        assert f"`MASTER_{name}`" in README
        told[f"MASTER_{name}"] = told[f"WORKER_{name}"]
    assert told.pop("TASKYARD_AUTHKEY") == "made by the master"
    assert told == {name: default for name, default in COMPOSE.items() if default}


def test_every_exit_code_stands_in_the_readme() -> None:
    codes = {kind.exit_code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "exit_code")}
    assert codes - {errors.TaskyardError.exit_code} == {int(row[0]) for row in rows_of_table("exit code")}


@pytest.mark.parametrize("program", ["master", "worker"])
def test_the_health_command_looks_where_the_program_shows_its_pulse(program: str) -> None:
    # It reads the environment itself, since importing the settings would take longer than all the rest.
    default = Settings.model_fields[f"{program}_health_file"].default
    assert f'"{program.upper()}_HEALTH_FILE") or "{default}"' in (ROOT / program / "__main__.py").read_text()
