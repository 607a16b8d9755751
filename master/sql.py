"""Every SQL statement of the store, by the name of what it does.

One row a task. A lease is not written down: a leased task's row stays ``ready``, so that after a crash of the master
whatever was out is simply given out again.
"""

VERSION = 1
"""``PRAGMA user_version``; a file with a higher one was written by a newer release."""

SCHEMA = """
CREATE TABLE task (
    seq        INTEGER PRIMARY KEY,           -- age: order of submitting
    id         TEXT NOT NULL UNIQUE,          -- made by the client
    job        TEXT NOT NULL,
    name       TEXT NOT NULL,
    payload    BLOB,                          -- dropped once the task is done
    rank       INTEGER NOT NULL,              -- its priority, negated: lower goes first
    retries    INTEGER NOT NULL,
    backoff    REAL NOT NULL,                 -- seconds
    time_limit REAL NOT NULL,                 -- seconds, 0: none
    result_ttl REAL NOT NULL,                 -- seconds
    state      TEXT NOT NULL,                 -- ready (leased ones too), delayed, done, failed, cancelled
    due        REAL,                          -- delayed: epoch seconds at which it becomes ready
    attempts   INTEGER NOT NULL DEFAULT 0,    -- failed ones; with an end, the last one too
    ended      INTEGER,                       -- results cursor; NULL: open
    value      BLOB,
    cause      TEXT NOT NULL DEFAULT '',
    expires    REAL                           -- ended: epoch seconds at which it is forgotten
) STRICT;
CREATE INDEX task_ready ON task (name, rank, seq) WHERE state = 'ready';
CREATE INDEX task_delayed ON task (due) WHERE state = 'delayed';
CREATE INDEX task_ended ON task (job, ended) WHERE ended IS NOT NULL;
CREATE INDEX task_expires ON task (expires) WHERE expires IS NOT NULL;
CREATE INDEX task_failed ON task (seq) WHERE state = 'failed';
CREATE TABLE item (                           -- what foreign programs put into the tutorial's two queues
    seq   INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,                      -- task or result
    value BLOB NOT NULL                       -- pickled plain data
) STRICT;
CREATE INDEX item_queue ON item (queue, seq);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO meta VALUES ('cursor', 0);
"""

ADD_TASK = """
INSERT INTO task (seq, id, job, name, payload, rank, retries, backoff, time_limit, result_ttl, state, due)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
LAST_SEQ = "SELECT coalesce(max(seq), 0) FROM task"
LAST_CURSOR = "SELECT max(coalesce((SELECT max(ended) FROM task), 0), (SELECT value FROM meta WHERE key = 'cursor'))"
KEEP_CURSOR = "UPDATE meta SET value = max(value, ?) WHERE key = 'cursor'"
COUNT_STATES = "SELECT state, count(*) FROM task GROUP BY state"
READY_NAMES = "SELECT DISTINCT name FROM task WHERE state = 'ready'"

# `ready` columns, as `master.ready.Entry` takes them; a big payload is fetched when the task is leased.
INLINE_BYTES = 2048
READY_COLUMNS = f"rank, seq, id, job, name, iif(length(payload) <= {INLINE_BYTES}, payload, NULL), time_limit, attempts"
READY = f"""
SELECT {READY_COLUMNS} FROM task WHERE state = 'ready' AND name = ? AND (rank, seq) > (?, ?) ORDER BY rank, seq LIMIT ?
"""
READY_BY_SEQ = f"SELECT {READY_COLUMNS} FROM task WHERE seq = ?"
PAYLOAD = "SELECT payload FROM task WHERE seq = ?"
BY_ID = "SELECT seq, state, job, name, attempts, result_ttl FROM task WHERE id = ?"
RETRY_RULES = "SELECT retries, backoff, result_ttl FROM task WHERE seq = ?"

# An end is written once: each of these names the states in which the task is still open.
END_DONE = """
UPDATE task SET state = 'done', ended = ?, value = ?, attempts = attempts + 1, expires = ? + result_ttl,
    payload = NULL, due = NULL, cause = '' WHERE seq = ? AND state IN ('ready', 'delayed')
"""
END = """
UPDATE task SET state = ?, ended = ?, value = ?, cause = ?, attempts = ?, expires = ? + result_ttl, due = NULL
WHERE seq = ? AND state IN ('ready', 'delayed')
"""
DELAY = "UPDATE task SET state = 'delayed', due = ?, attempts = ?, cause = ? WHERE seq = ? AND state IN ('ready', 'delayed')"
DUE = "SELECT seq FROM task WHERE state = 'delayed' AND due <= ? ORDER BY due LIMIT ?"
MAKE_READY = "UPDATE task SET state = 'ready', due = NULL WHERE seq = ? AND state = 'delayed'"
NEXT_DUE = "SELECT min(due) FROM task WHERE state = 'delayed'"

RESULTS = """
SELECT ended, id, state, coalesce(value, x''), cause, attempts FROM task
WHERE job = ? AND ended > ? ORDER BY ended LIMIT ?
"""
RETRY = """
UPDATE task SET state = 'ready', attempts = 0, ended = NULL, value = NULL, cause = '', expires = NULL
WHERE id = ? AND state = 'failed' RETURNING seq
"""
FORGET = "DELETE FROM task WHERE job = ? AND ended IS NOT NULL RETURNING state"
EXPIRE = """
DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE expires <= ? ORDER BY expires LIMIT ?) RETURNING state
"""
NEXT_EXPIRY = "SELECT min(expires) FROM task WHERE expires IS NOT NULL"
FIND = """
SELECT id, job, name, state, -rank, attempts, cause FROM task
WHERE state = ? AND (? IS NULL OR job = ?) ORDER BY seq LIMIT ? OFFSET ?
"""
FIND_ONE = "SELECT id, job, name, state, -rank, attempts, cause FROM task WHERE id = ?"

ADD_ITEM = "INSERT INTO item (seq, queue, value) VALUES (?, ?, ?)"
ITEMS = "SELECT seq, value FROM item WHERE queue = ? AND seq > ? ORDER BY seq LIMIT ?"
REMOVE_ITEM = "DELETE FROM item WHERE seq = ?"
LAST_ITEM = "SELECT coalesce(max(seq), 0) FROM item"
COUNT_ITEMS = "SELECT queue, count(*) FROM item GROUP BY queue"
