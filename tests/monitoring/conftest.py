"""The image of Prometheus, which has promtool too."""

from __future__ import annotations

import pytest

from tests.monitoring.image import prometheus_image


@pytest.fixture(scope="session")
def image() -> str:
    return prometheus_image()
