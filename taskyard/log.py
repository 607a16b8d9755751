"""Structured logs: readable lines for people, JSON lines for machines (TASKYARD_LOG=json).

Everything goes through the standard library's ``logging``, so lines of a task's own loggers come out in the same form,
and a program that only uses the client keeps its own set-up.
"""

from __future__ import annotations

import logging
import sys
from typing import cast

import structlog

from taskyard import context
from taskyard.settings import Settings


def set_up_logging(settings: Settings) -> None:
    """Send every log line of this process to standard error, in the form that the settings ask for."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        _name_task,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer()
        if settings.taskyard_log == "json"
        else structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty(), pad_event_to=30, exception_formatter=structlog.dev.plain_traceback
        )
    )
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    exceptions: list[structlog.typing.Processor] = (
        [structlog.processors.format_exc_info] if settings.taskyard_log == "json" else []
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *exceptions, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.taskyard_log_level.upper())


def get_logger(program: str) -> structlog.stdlib.BoundLogger:
    """A logger whose lines name the program they come from; for processes that called `set_up_logging`."""
    return cast(structlog.stdlib.BoundLogger, structlog.get_logger("taskyard", program=program))


def _name_task(_: object, __: str, line: structlog.typing.EventDict) -> structlog.typing.EventDict:
    return {**context.fields(), **line}
