"""Many at once: connections, tasks that wait."""
