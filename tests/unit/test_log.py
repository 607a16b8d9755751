"""Log lines: JSON for machines, text for people, the same for a task's own loggers."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Literal

import pytest
import structlog

from taskyard import context
from taskyard.log import get_logger, set_up_logging
from taskyard.settings import Settings


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Nothing of a test's set-up outlasts it."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


def set_up(form: Literal["console", "json"], level: Literal["debug", "info", "warning", "error"] = "info") -> None:
    set_up_logging(Settings(taskyard_log=form, taskyard_log_level=level))


def lines_of(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_a_json_line_has_its_fields_beside_level_time_and_program(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    get_logger("master").info("serving", address="127.0.0.1:5000", ready=3)
    (line,) = lines_of(capsys)
    time = datetime.fromisoformat(line.pop("timestamp"))
    assert time.utcoffset() == timedelta(0)
    assert line == {"event": "serving", "level": "info", "program": "master", "address": "127.0.0.1:5000", "ready": 3}


def test_a_tasks_own_logger_writes_json_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    logging.getLogger("mine").warning("%d of %d", 1, 2)
    (line,) = lines_of(capsys)
    assert (line["event"], line["level"]) == ("1 of 2", "warning")
    assert "timestamp" in line


def test_a_line_says_of_which_task_it_is_whoever_writes_it(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    running = context.Running("job", 7, "work", 2, lambda *_: None, lambda: False)
    context.enter(running)
    logging.getLogger("mine").info("from a task")
    running.number = 8
    get_logger("worker").info("from the worker", attempt="its own word")
    context.enter(None)
    logging.getLogger("mine").info("from none")
    first, second, third = lines_of(capsys)
    assert [(line["task"], line["name"]) for line in (first, second)] == [("job-7", "work"), ("job-8", "work")]
    assert (first["attempt"], second["attempt"]) == (2, "its own word")
    assert "task" not in third


def test_a_line_has_the_fields_that_a_tasks_code_has_bound(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    structlog.contextvars.bind_contextvars(step=3)
    logging.getLogger("mine").info("going on")
    (line,) = lines_of(capsys)
    assert line["step"] == 3


@pytest.mark.parametrize("whose", ["structlog", "logging"])
def test_a_json_line_holds_an_exception_whole(whose: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    logger: Any = get_logger("master") if whose == "structlog" else logging.getLogger("mine")
    try:
        raise ValueError("first line\nsecond line")
    except ValueError:
        logger.exception("it failed")
    (line,) = lines_of(capsys)
    assert (line["event"], line["level"]) == ("it failed", "error")
    assert "Traceback" in line["exception"]
    assert "ValueError: first line\nsecond line" in line["exception"]


@pytest.mark.parametrize("whose", ["structlog", "logging"])
def test_a_line_for_people_is_text_without_colours_where_nobody_looks(whose: str, capsys: pytest.CaptureFixture[str]) -> None:
    set_up("console")
    logger: Any = get_logger("master") if whose == "structlog" else logging.getLogger("mine")
    try:
        raise ValueError("no luck")
    except ValueError:
        logger.exception("it failed")
    text = capsys.readouterr().err
    assert all(word in text for word in ("error", "it failed", "Traceback", "ValueError: no luck"))
    assert "\x1b" not in text


def test_lines_below_the_level_are_left_out_whoever_writes_them(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json", "warning")
    for logger in (get_logger("master"), logging.getLogger("mine")):
        logger.info("quiet")
        logger.warning("loud")
    assert [line["event"] for line in lines_of(capsys)] == ["loud", "loud"]


def test_setting_up_twice_does_not_write_lines_twice(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    set_up("json")
    get_logger("master").info("once")
    assert [line["event"] for line in lines_of(capsys)] == ["once"]


def test_what_json_cant_hold_is_written_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    set_up("json")
    get_logger("master").info("odd", value=object(), data=b"bytes")
    (line,) = lines_of(capsys)
    assert "object object" in line["value"]
    assert "bytes" in line["data"]
