"""The description of the API holds for whatever is sent: nothing fails, nothing is answered that it does not tell."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import checks
from schemathesis.core.transport import Response

from tests.dashboard.conftest import FULL, Dashboard, offer
from tests.harness import Harness, done, failed, task

EXAMPLES = 30


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    folder = tmp_path_factory.mktemp("openapi")
    harness = Harness(folder / "master", "manager")
    offer(harness)
    harness.queue.submit([task(f"a-{n}") for n in range(4)])
    first, second, _ = harness.queue.lease("worker", 3, 0)
    harness.queue.settle("worker", [done(first), failed(second)])
    made = Dashboard(harness.queue, folder / "dashboard")
    yield made
    made.stop()
    harness.end()


@pytest.fixture(scope="module")
def api(served: Dashboard) -> Any:
    return schemathesis.openapi.from_url(f"{served.url}/openapi.json", headers={"Authorization": f"Bearer {FULL}"})


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_whatever_is_sent_the_answer_is_one_of_those_described(case: Any) -> None:
    response: Response = case.call(headers={"Authorization": f"Bearer {FULL}"})
    case.validate_response(response, excluded_checks=[checks.positive_data_acceptance])
