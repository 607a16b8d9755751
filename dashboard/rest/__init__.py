"""The REST API under ``/api/v1``: the queue's verbs for programs in any language."""
