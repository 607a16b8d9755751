"""Tasks for the page to show."""

from __future__ import annotations

import time
from pathlib import Path

from taskyard import progress, task


@task
def resize(picture: int, width: int = 800) -> str:
    """Takes a moment."""
    time.sleep(0.02 + picture % 7 / 50)
    return f"picture-{picture}.jpg, {width} px"


@task(retries=1, backoff=0.1)
def send_mail(to: str) -> None:
    """Never works."""
    raise ConnectionRefusedError(f"no mail server answers for {to}")


@task
def train(epochs: int, gate: str = "") -> dict[str, float]:
    """Tells its progress, and goes on once the file ``gate`` is there."""
    for epoch in range(epochs):
        progress(epoch, epochs, f"epoch {epoch}, loss {1 / (epoch + 1):.3f}")
        while gate and epoch == epochs // 3 and not Path(gate).exists():
            time.sleep(0.02)
        if not gate:
            time.sleep(0.2)
    return {"epochs": epochs, "loss": 0.01}
