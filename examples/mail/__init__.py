"""The mail queue: see README.md beside this file."""
