"""Tests: unit (this process only), contract (both ways to the queue, the port), cluster (the Compose file as shipped)."""
