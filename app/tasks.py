"""Your tasks: every function with ``@task`` runs on the workers."""

from taskyard import task


@task
def square(n: int) -> str:
    """Put your own work here: send a mail, resize an image, train a model."""
    return f"{n} * {n} = {n * n}"
