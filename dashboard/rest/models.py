"""The bodies of the REST API. Times are seconds; moments are epoch seconds, null where there is none."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from taskyard.model import BY_CAUSE, State

ITEMS = 1000
"""Tasks that one request may name."""
LONGEST_NAME = 200
Text = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Seconds = Annotated[float, Field(ge=0, lt=1e10, allow_inf_nan=False)]
Whole = Annotated[int, Field(ge=-(2**31), lt=2**31)]


class In(BaseModel):
    """What is sent: a field that there is not is a mistake."""

    model_config = ConfigDict(extra="forbid", strict=True)


class TaskIn(In):
    """One call of a task that some worker offers, and how it is to be made."""

    name: Text = Field(description="Of the task, as a worker offers it (`/api/v1/workers`).")
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    priority: Whole = Field(default=0, description="Higher goes first.")
    delay: Seconds = Field(default=0.0, description="Until it may begin.")
    retries: int = Field(
        default=BY_CAUSE,
        ge=BY_CAUSE,
        lt=2**31,
        description="After a failed attempt; -1: none after an exception, two after a death.",
    )
    backoff: Seconds = Field(default=1.0, description="Before the first retry; doubled for each further one.")
    time_limit: Seconds = Field(default=0.0, description="Of one attempt; 0: none.")
    expiry: Seconds = Field(default=0.0, description="Within which it must begin; 0: no bound.")
    result_ttl: Seconds = Field(default=7 * 86400.0, description="How long its result is kept.")
    key: Text | None = Field(default=None, description="Of the calls of a task with one key only the first is run.")


class SubmitOne(TaskIn):
    """One call, and its job."""

    job: Text | None = Field(default=None, description="Under which its result is read; null: one of its own.")


class SubmitMany(In):
    """Calls of one job."""

    job: Text | None = Field(default=None, description="Under which their results are read; null: a new one.")
    tasks: list[TaskIn] = Field(min_length=1, max_length=ITEMS)


class Ids(In):
    """Tasks to do something with."""

    ids: list[Text] = Field(min_length=1, max_length=ITEMS)


class Alike(In):
    """Which of the failed tasks: those to which all that is given applies."""

    name: Text | None = Field(default=None, description="Of the task; null: any.")
    job: Text | None = Field(default=None, description="Of which it is; null: any.")
    cause: Text | None = Field(default=None, description="What its cause begins with: `signal`, `exception: ValueError`.")


class Submitted(BaseModel):
    """Tasks that the queue has, durably."""

    job: str
    ids: list[str] = Field(description="In the order of the request.")
    new: int = Field(description="How many the queue did not know yet.")


class Opaque(BaseModel):
    """Stands for data that is not plain, or too much."""

    opaque: Literal[True] = True
    bytes: int
    why: str
    how: str = Field(description="Where it can be had.")


class TaskShort(BaseModel):
    """A task in a list."""

    id: str
    job: str
    name: str
    state: State
    priority: int
    attempts: int
    cause: str | None
    submitted: float | None


class TaskList(BaseModel):
    """Tasks, the oldest first."""

    tasks: list[TaskShort]
    next: int | None = Field(description="To be given as `after` for those that follow; null: there are none.")


class TaskOut(TaskShort):
    """All that is known of a task."""

    due: float | None
    begin_by: float | None
    ended: float | None
    forgotten: float | None = Field(description="When its result will be deleted.")
    retries: int
    backoff: float
    time_limit: float
    session: str | None = Field(description="The worker that has it.")
    arguments: Any = Field(description="`[args, kwargs]`; null once it is done, or where they are opaque.")
    arguments_opaque: Opaque | None
    value: Any = Field(default=None, description="What it returned.")
    calls: list[Any] | None = Field(default=None, description="Of a task that stands for many calls: what each returned.")
    opaque: Opaque | None = Field(default=None, description="Instead of a value that can't be told as JSON.")
    traceback: str | None = Field(default=None, description="Of what it raised.")


class ResultOut(BaseModel):
    """The one end of a task."""

    cursor: int
    id: str
    state: Literal["done", "failed", "cancelled"]
    attempts: int
    cause: str | None
    value: Any = Field(default=None, description="What it returned.")
    calls: list[Any] | None = Field(default=None, description="Of a task that stands for many calls: what each returned.")
    opaque: Opaque | None = Field(default=None, description="Instead of a value that can't be told as JSON.")
    traceback: str | None = Field(default=None, description="Of what it raised.")


class ResultList(BaseModel):
    """Results, in the order in which they came."""

    results: list[ResultOut]
    cursor: int = Field(description="To be given as `after` for those that follow.")
    open: int = Field(
        description="Tasks of the job that had no end before these were read: a page that is empty where it is 0 is the last."
    )


class JobOut(BaseModel):
    """Counts of a job."""

    job: str
    created: float | None
    tasks: int
    open: int
    done: int
    failed: int
    cancelled: int


class JobList(BaseModel):
    """Jobs, the newest first."""

    jobs: list[JobOut]
    next: int | None = Field(description="To be given as `after` for those that follow; null: there are none.")


class AttemptOut(BaseModel):
    """One delivery of a task to a worker."""

    number: int = Field(description="1 for the first, and again for the first after a retry.")
    host: str | None
    session: str | None = Field(description="The worker that had it; null, as the host: to a release that did not keep it.")
    leased: float | None
    ended: float | None = Field(description="Null: it is under way.")
    kind: Literal["leased", "done", "failed", "cancelled"]
    cause: str | None


class RunningOut(BaseModel):
    """A leased task with its progress."""

    id: str
    job: str
    name: str
    session: str
    attempt: int
    seconds: float = Field(description="Since it was leased.")
    done: float
    total: float | None
    note: str


class WorkerOut(BaseModel):
    """A worker that is alive, or that was until lately."""

    session: str
    state: Literal["alive", "draining", "left", "lost"] = Field(
        description="`left`: it said so; `lost`: it fell silent, and its tasks are others' now."
    )
    left: float | None = Field(description="When it left or was lost; null: it is alive, draining or not.")
    lost: bool
    draining: bool = Field(description="It takes nothing more, finishes what it runs, and ends.")
    host: str
    slots: int
    busy: int
    tasks: list[str] = Field(description="Names of the tasks that it takes.")
    functions: bool = Field(description="Whether it takes functions by value too.")
    leased: int
    silent: float = Field(description="Since its last heartbeat.")
    python: str
    version: str = Field(description="Of Taskyard.")
    pid: int
    started: float | None
    cpu: float = Field(description="Processors that all its processes use together; 0 where it can't know, as `memory`.")
    memory: int = Field(description="Bytes that they have resident.")


class ScheduleOut(BaseModel):
    """A periodic task."""

    name: str
    spec: str
    timezone: str
    missed: Literal["latest", "all", "skip"]
    job: str
    last: float | None
    next: float | None


class Stats(BaseModel):
    """Counts of the queue."""

    ready: int
    leased: int
    delayed: int
    done: int
    failed: int
    cancelled: int
    workers: int
    paused: bool = Field(description="Nothing is lent until somebody resumes.")
    bound: int
    payload_limit: int
    lease: float
    bytes: int = Field(description="Of the queue's file.")


class Changed(BaseModel):
    """How many tasks it was done to; the others were in no state for it, or unknown."""

    count: int


class Steered(BaseModel):
    """How the queue is from now on, also after a restart."""

    paused: bool
    changed: bool = Field(description="Whether it was otherwise before.")


class Fault(BaseModel):
    """One fault of a request."""

    where: str
    what: str


class ProblemOut(BaseModel):
    """A refusal (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    errors: list[Fault] | None = None
