"""Each alert fires when it should, and not before: as promtool, which is Prometheus's own, finds it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.monitoring.image import MONITORING

CASES = Path(__file__).with_name("alerts_test.yaml")
ALERTS: list[dict[str, Any]] = yaml.safe_load((MONITORING / "alerts.yaml").read_text())["groups"][0]["rules"]
NAMES = [rule["alert"] for rule in ALERTS]
CHECKS = [
    (check["alertname"], bool(check["exp_alerts"]))
    for case in yaml.safe_load(CASES.read_text())["tests"]
    for check in case["alert_rule_test"]
]


def promtool(image: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    mounts = ("--volume", f"{folder}:/monitoring:ro", "--volume", f"{CASES}:/cases.yaml:ro")
    command = ("docker", "run", "--rm", "--network", "none", *mounts, "--entrypoint", "promtool", image, *words)
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_of_each_alert_it_is_shown_when_it_fires_and_when_it_does_not(name: str) -> None:
    assert (name, True) in CHECKS
    assert (name, False) in CHECKS


def test_all_of_them_do_what_is_shown(image: str) -> None:
    ended = promtool(image, MONITORING, "test", "rules", "/cases.yaml")
    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("name", NAMES)
def test_an_alert_that_never_fires_is_found_out(image: str, tmp_path: Path, name: str) -> None:
    told = yaml.safe_load((MONITORING / "alerts.yaml").read_text())
    next(rule for rule in told["groups"][0]["rules"] if rule["alert"] == name)["expr"] = "vector(0) > 1"
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(told))
    ended = promtool(image, tmp_path, "test", "rules", "/cases.yaml")
    assert ended.returncode != 0
    assert name in ended.stdout


def test_what_is_shipped_is_read_without_complaint(image: str, tmp_path: Path) -> None:
    shutil.copytree(MONITORING, tmp_path, dirs_exist_ok=True)
    config = yaml.safe_load((tmp_path / "prometheus.yaml").read_text())
    (tmp_path / "token").write_text("token")
    config["rule_files"] = ["/monitoring/alerts.yaml"]
    config["scrape_configs"][0]["authorization"]["credentials_file"] = "/monitoring/token"
    (tmp_path / "prometheus.yaml").write_text(yaml.safe_dump(config))
    ended = promtool(image, tmp_path, "check", "config", "--lint-fatal", "/monitoring/prometheus.yaml")
    assert ended.returncode == 0, ended.stdout
    assert f"{len(ALERTS)} rules found" in ended.stdout
