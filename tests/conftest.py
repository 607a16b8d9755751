"""A behaviour that does not hold shows its values, though it stands in no test file."""

import pytest

pytest.register_assert_rewrite(
    *(f"tests.executors.{name}" for name in ("listing", "on_calls", "on_ends", "on_futures", "on_map"))
)
