"""What tests have measured; `tests.conftest` shows it at the end of the run."""

from __future__ import annotations

measured: list[str] = []


def tell(text: str) -> None:
    """Note a measurement."""
    measured.append(text)
