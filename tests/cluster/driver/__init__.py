"""What the cluster tests run inside the containers: tasks that behave badly, and clients that count."""
