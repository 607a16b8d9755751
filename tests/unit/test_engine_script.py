"""deploy/choose-engine.sh: what it makes of .env."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/choose-engine.sh"


def choose(folder: Path, *words: str, code: int = 0, says: str = "") -> str:
    (folder / "deploy").mkdir(exist_ok=True)
    shutil.copy2(SCRIPT, folder / "deploy")
    ended = subprocess.run([folder / "deploy/choose-engine.sh", *words], check=False, capture_output=True, text=True)
    assert ended.returncode == code, ended.stderr
    assert says in ended.stderr
    return (folder / ".env").read_text() if (folder / ".env").exists() else ""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMPOSE_FILE", raising=False)


def test_the_choice_stands_in_env_and_nothing_else_there_changes(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WORKERS=3\n")
    assert choose(tmp_path, "nats") == "WORKERS=3\nCOMPOSE_FILE=compose.yaml:compose.nats.yaml\n"
    assert choose(tmp_path, "nats-single").endswith("COMPOSE_FILE=compose.yaml:compose.nats.yaml:compose.nats.single.yaml\n")
    assert choose(tmp_path, "embedded") == "WORKERS=3\nCOMPOSE_FILE=compose.yaml\n"


def test_other_files_that_are_laid_over_stay(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("COMPOSE_FILE=compose.yaml:compose.keys.yaml\n")
    assert choose(tmp_path, "nats") == "COMPOSE_FILE=compose.yaml:compose.nats.yaml:compose.keys.yaml\n"
    assert choose(tmp_path, "nats") == "COMPOSE_FILE=compose.yaml:compose.nats.yaml:compose.keys.yaml\n"


def test_the_engine_there_is_without_a_choice_needs_no_line(tmp_path: Path) -> None:
    assert choose(tmp_path, "embedded") == ""


def test_an_engine_that_there_is_not_is_refused(tmp_path: Path) -> None:
    assert choose(tmp_path, "redis", code=64) == ""


def test_secrets_stay_as_hidden_as_they_were(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TASKYARD_AUTHKEY=secret\n")
    (tmp_path / ".env").chmod(0o600)
    choose(tmp_path, "nats")
    assert (tmp_path / ".env").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("engine", "tls", "instead"),
    [
        ("nats", "compose.tls.yaml", "compose.nats.tls.yaml"),
        ("nats-single", "compose.tls.yaml", "compose.nats.tls.yaml"),
        ("embedded", "compose.nats.tls.yaml", "compose.tls.yaml"),
        ("nats-single", "compose.nats.tls.yaml", "ENGINE=nats"),
    ],
)
def test_the_other_engines_tls_is_refused(tmp_path: Path, engine: str, tls: str, instead: str) -> None:
    before = f"COMPOSE_FILE=compose.yaml:{tls}\n"
    (tmp_path / ".env").write_text(before)
    assert choose(tmp_path, engine, code=78, says=instead) == before


@pytest.mark.parametrize(("engine", "tls"), [("nats", "compose.nats.tls.yaml"), ("embedded", "compose.tls.yaml")])
def test_an_engines_own_tls_stays(tmp_path: Path, engine: str, tls: str) -> None:
    (tmp_path / ".env").write_text(f"COMPOSE_FILE=compose.yaml:{tls}\n")
    assert choose(tmp_path, engine).endswith(f":{tls}\n")
