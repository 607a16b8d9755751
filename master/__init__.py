"""The queue's server side: store (SQLite), engine (semantics), committer (one commit for many), server (the port)."""
