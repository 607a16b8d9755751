"""The description of the API holds for whatever is sent: nothing fails, nothing is answered that it does not tell."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks

from tests.dashboard.conftest import FULL, Dashboard, offer
from tests.harness import Harness, done, failed, task

EXAMPLES = 40
OPERATIONS = 23
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]


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


def test_whatever_is_sent_the_answer_is_one_of_those_described(served: Dashboard) -> None:
    headers = {"Authorization": f"Bearer {FULL}"}
    tried: Counter[str] = Counter()
    for found in schemathesis.openapi.from_url(f"{served.url}/openapi.json", headers=headers).get_all_operations():
        operation: Any = found.ok()  # type: ignore[union-attr]
        right, wrong = (operation.as_strategy(mode) for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE))

        @settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
        @given(case=right | wrong)
        def ask(case: Any) -> None:
            tried[case.operation.label] += 1
            case.validate_response(case.call(headers=headers, timeout=20), checks=CHECKS)

        ask()
    assert len(tried) == OPERATIONS
    assert min(tried.values()) >= 5
