"""Which image Prometheus comes from here."""

from __future__ import annotations

import subprocess
from pathlib import Path

import yaml

MONITORING = Path(__file__).parents[2] / "deploy/monitoring"


def prometheus_image() -> str:
    """The one that `make monitoring` chooses; built where it can't be had."""
    script = MONITORING.parent / "base-images.sh"
    chosen = subprocess.run([script, "monitoring"], check=True, stdout=subprocess.PIPE, text=True).stdout
    told = dict(line.split("=", 1) for line in chosen.splitlines())
    default = yaml.safe_load((MONITORING / "compose.yaml").read_text())["services"]["prometheus"]["image"]
    return told.get("PROMETHEUS_IMAGE") or default.partition(":-")[2].removesuffix("}")
