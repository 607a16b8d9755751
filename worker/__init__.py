"""The worker: a supervisor that talks to the queue, and slot processes that run tasks."""
