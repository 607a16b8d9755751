"""Taskyard: the common queue module of master, workers and clients.

>>> from taskyard import Cluster, task
"""

from typing import TYPE_CHECKING, Any

from taskyard.registry import task

if TYPE_CHECKING:
    from taskyard.client import Cluster

__all__ = ["Cluster", "task"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # The client is imported when it is first asked for: health checks and slots start without it.
    if name == "Cluster":
        from taskyard.client import Cluster

        return Cluster
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
