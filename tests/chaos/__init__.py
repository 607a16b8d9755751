"""The shipped Compose cluster under blows that a seed decides, while a client submits and checks: ``python -m tests.chaos``."""
