"""Several masters, one queue: what one of them, the leader, does stands in a log on NATS JetStream, which the others replay.

A turn of the engine is an entry of the log. The leader appends it where it has seen the log end, and NATS takes it there or
not at all: so that of two who think that they lead, one finds out at its next turn. It answers who asked only after NATS has the
entry on most of its servers. Whoever leads next has replayed the same entries, and goes on as a master does after a restart.
"""
