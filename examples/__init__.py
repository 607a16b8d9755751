"""Examples: each a compose file to lay over compose.yaml, with its own tasks and job."""
