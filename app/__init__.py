"""Yours: the tasks, and the job that submits them."""
