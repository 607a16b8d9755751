"""What task code may ask and tell, in a task and outside of one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskyard import context


@pytest.fixture
def words() -> Iterator[list[tuple[float, float, str]]]:
    """What a running task, cancelled already, has told."""
    told: list[tuple[float, float, str]] = []
    context.enter(context.Running("job", 7, "work", 3, lambda *word: told.append(word), lambda: True))
    yield told
    context.enter(None)


def test_where_no_task_runs_nothing_happens() -> None:
    context.progress(1, 2, "nobody listens")
    assert (context.cancelled(), context.attempt(), context.task_id()) == (False, 1, "")
    assert context.logger().name == "taskyard.task"


def test_a_task_knows_itself(words: list[tuple[float, float, str]]) -> None:
    assert (context.cancelled(), context.attempt(), context.task_id(), context.logger().name) == (True, 3, "job-7", "work")


def test_words_of_progress_are_numbers_and_a_short_note(words: list[tuple[float, float, str]]) -> None:
    context.progress(1)
    context.progress(2, 10, "x" * 1000)
    context.progress(float("nan"), float("inf"), "half a pair: \ud83d")  # what the queue would refuse
    assert words == [(1.0, 0.0, ""), (2.0, 10.0, "x" * context.LONGEST_NOTE), (0.0, 0.0, "half a pair: ?")]
    with pytest.raises(ValueError, match="could not convert"):
        context.progress("half")  # type: ignore[arg-type]


def test_once_a_task_has_ended_its_context_is_gone(words: list[tuple[float, float, str]]) -> None:
    context.enter(None)
    context.progress(1)
    assert (words, context.task_id()) == ([], "")
