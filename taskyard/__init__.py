"""Taskyard: the common queue module of master, workers and clients.

>>> from taskyard import Cluster, task
"""

from taskyard.client import Cluster
from taskyard.registry import task

__all__ = ["Cluster", "task"]
__version__ = "0.1.0"
