"""docs/contract.md says of fields, verbs, words and bounds what the code does."""

from __future__ import annotations

import inspect
import re
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest

from master.engine import SUSPECT_AFTER
from master.rules import KINDS, LONGEST_NAME, LONGEST_NOTE
from master.schedules import MISSED_SECONDS, MOMENTS_LIMIT
from master.sql import KEPT_ATTEMPTS
from master.views import REPLY_BYTES
from taskyard import errors
from taskyard.contract import Queue
from taskyard.model import (
    BACKOFF_LIMIT,
    CAUSES,
    END_STATES,
    OPEN_STATES,
    Attempt,
    Details,
    Found,
    JobInfo,
    Kind,
    Lease,
    Orders,
    Outcome,
    Result,
    Running,
    Sample,
    Schedule,
    ScheduleInfo,
    Task,
    WorkerInfo,
)
from taskyard.series import LeaseSeries, OutcomeSeries, ResultSeries, TaskSeries
from taskyard.settings import Settings
from taskyard.transport import LONGEST_WAIT, RETRY_LIMIT

PAGE = (Path(__file__).parents[2] / "docs/contract.md").read_text()
SERIES = (TaskSeries, LeaseSeries, OutcomeSeries, ResultSeries)
PROSE = " ".join(PAGE.split())
VERBS = {name: verb for name, verb in vars(Queue).items() if inspect.isfunction(verb) and not name.startswith("_")}


@pytest.mark.parametrize(
    "kind",
    [
        *SERIES,
        Task,
        Lease,
        Outcome,
        Result,
        Found,
        Details,
        Attempt,
        Running,
        JobInfo,
        Schedule,
        ScheduleInfo,
        Orders,
        WorkerInfo,
        Sample,
        Kind,
    ],
)
def test_what_travels_has_the_fields_of_the_page_in_its_order_with_its_defaults(kind: Any) -> None:
    # On the wire there are bare tuples: whoever writes a client in another language has nothing but this page.
    (told,) = re.findall(rf"\*\*{kind.__name__}\*\* `\(([^)]*)\)`", PAGE)
    fields = dict(field.partition("=")[::2] for field in told.split(", "))
    assert tuple(fields) == kind._fields
    assert {name: literal_eval(default) for name, default in fields.items() if default} == kind._field_defaults


def test_every_verb_stands_on_the_page_with_its_arguments() -> None:
    told = re.findall(r"^\| `(\w+)\(([^)]*)\)` \|", PAGE, re.MULTILINE)
    assert [(name, arguments.split(", ")) for name, arguments in told] == [
        (name, list(inspect.signature(verb).parameters)[1:] or [""]) for name, verb in VERBS.items()
    ]


def test_every_error_that_the_page_names_is_one() -> None:
    named = set(re.findall(r"(?<!\*)\*([A-Z][a-zA-Z]+)\*(?!\*)", PAGE))
    assert {"QueueFull", "StoreFull", "PayloadTooLarge", "BadRequest", "StoreBroken"} <= named
    assert [name for name in named if not hasattr(errors, name)] == []


def test_the_page_lists_every_cause_state_and_kind_of_outcome() -> None:
    (causes,) = re.findall(r"\*\*Cause\*\* begins with one of: ([^.]*)\.", PROSE)
    assert tuple(re.findall(r"`([^`]+)`", causes)) == CAUSES
    assert f"kind is {KINDS[0]}, {KINDS[1]} or {KINDS[2]};" in PROSE
    assert f"ends in exactly one of {', '.join(END_STATES)}**" in PROSE
    picture = PAGE.split("```")[1]
    assert [state for state in (*OPEN_STATES, *END_STATES) if state not in picture] == []


DEFAULTS = Settings.model_construct()


@pytest.mark.parametrize(
    "words",
    [
        f"text of 1 to {LONGEST_NAME} characters",
        f"at most {BACKOFF_LIMIT:g}, give or take a tenth",
        f"`MASTER_PAYLOAD_LIMIT` ({DEFAULTS.master_payload_limit // 2**20} MiB)",
        f"({DEFAULTS.master_lease:g} s, `MASTER_LEASE`)",
        f"Empty after `wait` s (at most {LONGEST_WAIT:g})",
        f"when {REPLY_BYTES // 2**20} MiB are reached",
        f"the last {KEPT_ATTEMPTS} that failed",
        f"At most {RETRY_LIMIT:,}, those that failed first",
        f"note of at most {LONGEST_NOTE} characters",
        f"older than {MISSED_SECONDS:g} s",
        f"at most {MOMENTS_LIMIT:,} at a time",
        f"lost {('twice', 'three times', 'four times')[SUSPECT_AFTER - 2]} *with its whole worker*",
    ],
)
def test_a_bound_on_the_page_is_that_of_the_code(words: str) -> None:
    assert words in re.sub(r"\n *", " ", PAGE)
