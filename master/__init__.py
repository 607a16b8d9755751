"""The queue's server side: store (SQLite), engine (semantics), committer (one commit for many), talk (a client's connection),
server (the port)."""
