"""Taskyard: the common queue module of master, workers and clients.

>>> from taskyard import Cluster, task
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from taskyard.context import attempt, cancelled, logger, progress, task_id
from taskyard.registry import task

if TYPE_CHECKING:
    from taskyard.bar import as_completed
    from taskyard.client import Cluster
    from taskyard.local import LocalCluster

__all__ = ["Cluster", "LocalCluster", "as_completed", "attempt", "cancelled", "logger", "progress", "task", "task_id"]
__version__ = "0.1.0"

# Imported when they are first asked for: health checks and slots start without them.
_LATER = {"Cluster": "taskyard.client", "LocalCluster": "taskyard.local", "as_completed": "taskyard.bar"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(_LATER[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
