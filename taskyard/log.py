"""Structured logs: readable lines for people, JSON lines for machines (TASKYARD_LOG=json)."""

from __future__ import annotations

import logging
import sys
from typing import cast

import structlog

from taskyard.settings import Settings


def set_up_logging(settings: Settings) -> None:
    """Send every log line to standard error, in the form that the settings ask for."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer()
            if settings.taskyard_log == "json"
            else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), pad_event_to=30),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, settings.taskyard_log_level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def get_logger(program: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines name the program they come from."""
    return cast(structlog.typing.FilteringBoundLogger, structlog.get_logger(program=program))
