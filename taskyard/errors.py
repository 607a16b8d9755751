"""Everything Taskyard raises. The docstring says what happened; the message says what to do next.

All arguments go to ``Exception.__init__``, so that each survives pickling and the trip over the wire.
"""

from __future__ import annotations


class TaskyardError(Exception):
    """Base of every error of Taskyard."""

    exit_code = 1


class QueueFull(TaskyardError):
    """The queue holds as many tasks as it may; nothing of this submit was taken. Wait, then submit again."""


class StoreFull(TaskyardError):
    """The disk under the queue is full; nothing of this call was taken. It is safe to repeat the call once there is room."""


class StoreBroken(TaskyardError):
    """The queue's database can't be used: damaged, written by a newer version, or not writable."""

    exit_code = 74


class PayloadTooLarge(TaskyardError):
    """A payload or value is over the bound; keep big data elsewhere and pass its address."""


class BadRequest(TaskyardError):
    """A call has arguments that the queue can't take; nothing was changed."""


class WrongKey(TaskyardError):
    """The master and this program do not have the same authkey."""

    exit_code = 77


class NotAllowed(TaskyardError):
    """The key of this program is for something else: a worker's can't submit, for instance. Nothing was changed."""

    exit_code = 77


class WrongCertificate(TaskyardError):
    """With TLS: the master's certificate is not one to trust, or the master does not take this program's."""

    exit_code = 77


class Unreachable(TaskyardError):
    """Nothing that speaks Taskyard's protocol answers at the address."""

    exit_code = 69


class WrongVersion(TaskyardError):
    """The master speaks another version of the protocol; run the same release on both sides."""

    exit_code = 76


class SettingsError(TaskyardError):
    """A setting is missing or makes no sense."""

    exit_code = 78


class DockerFailed(TaskyardError):
    """Docker did not do what it was asked for; what it did before stays done."""


class NoSuchJob(TaskyardError):
    """The queue knows no job of this id: it was never submitted, forgotten, or its results have outlived their time."""


class NoSuchTask(TaskyardError):
    """The queue does not know this task any more: it was forgotten, has outlived its result, or the queue's data is gone."""


class Detached(TaskyardError):
    """The client has left before the result came; the task goes on, its job has the result."""


class TaskFailed(TaskyardError):
    """The task ended in ``failed`` without an exception of its own: its cause of death is the message."""


class RemoteTraceback(Exception):
    """Carries the worker's traceback as the ``__cause__`` of what a task raised."""

    def __str__(self) -> str:
        return "\n" + str(self.args[0]) if self.args else ""
