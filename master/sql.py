"""Every SQL statement of the store, by the name of what it does.

One row a task. A lease is not written down: a leased task's row stays ``ready``, so that after a crash of the master
whatever was out is simply given out again.
"""

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
JOBS_AND_SCHEDULES = """
ALTER TABLE task ADD COLUMN submitted REAL NOT NULL DEFAULT 0;  -- epoch seconds, 0: by a release that did not keep it
ALTER TABLE task ADD COLUMN begin_by REAL;    -- epoch seconds until which its first attempt must begin; NULL: no bound
CREATE INDEX task_job ON task (job);           -- and, as every index, by seq
CREATE INDEX task_begin_by ON task (begin_by) WHERE begin_by IS NOT NULL AND attempts = 0 AND ended IS NULL;
CREATE TABLE job (                            -- how many rows of `task` each job has
    seq       INTEGER PRIMARY KEY,            -- age: order of first submits
    id        TEXT NOT NULL UNIQUE,
    created   REAL NOT NULL,                  -- epoch seconds, 0: as above
    tasks     INTEGER NOT NULL,               -- in whatever state
    done      INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    cancelled INTEGER NOT NULL
) STRICT;
INSERT INTO job (id, created, tasks, done, failed, cancelled)
    SELECT job, 0, count(*), sum(state = 'done'), sum(state = 'failed'), sum(state = 'cancelled')
    FROM task GROUP BY job ORDER BY min(seq);
CREATE TABLE schedule (
    name       TEXT PRIMARY KEY,              -- of the task
    spec       TEXT NOT NULL,
    timezone   TEXT NOT NULL,
    missed     TEXT NOT NULL,                 -- latest, all, skip
    payload    BLOB NOT NULL,
    priority   INTEGER NOT NULL,
    retries    INTEGER NOT NULL,
    backoff    REAL NOT NULL,
    time_limit REAL NOT NULL,
    result_ttl REAL NOT NULL,
    expiry     REAL NOT NULL,
    since      REAL NOT NULL,                 -- epoch seconds: moments up to it are dealt with
    last       REAL NOT NULL                  -- epoch seconds: the last one that was enqueued; 0: none yet
) STRICT, WITHOUT ROWID;
"""
MIGRATIONS = (SCHEMA, JOBS_AND_SCHEDULES)
"""Each makes a file of the version before it, beginning with an empty one, into one of the next."""
VERSION = len(MIGRATIONS)
"""``PRAGMA user_version``; a file with a higher one was written by a newer release."""

ADD_TASK = """
INSERT INTO task (seq, id, job, name, payload, rank, retries, backoff, time_limit, result_ttl, submitted, begin_by, state, due)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING
"""
LAST_SEQ = "SELECT coalesce(max(seq), 0) FROM task"
LAST_CURSOR = "SELECT max(coalesce((SELECT max(ended) FROM task), 0), (SELECT value FROM meta WHERE key = 'cursor'))"
KEEP_CURSOR = "UPDATE meta SET value = max(value, ?) WHERE key = 'cursor'"
COUNT_STATES = "SELECT state, count(*) FROM task GROUP BY state"
READY_NAMES = "SELECT DISTINCT name FROM task WHERE state = 'ready'"

# `ready` columns, as `master.ready.Entry` takes them; a big payload is fetched when the task is leased.
INLINE_BYTES = 2048
READY_COLUMNS = f"""
    rank, seq, id, job, name, iif(length(payload) <= {INLINE_BYTES}, payload, NULL), time_limit, attempts,
    coalesce(begin_by, 9e999)
"""
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
NOT_BEGUN = """
SELECT seq, state, job, name, id, begin_by - submitted FROM task
WHERE begin_by <= ? AND attempts = 0 AND ended IS NULL ORDER BY begin_by LIMIT ?
"""

RESULTS = """
SELECT ended, id, state, coalesce(value, x''), cause, attempts FROM task
WHERE job = ? AND ended > ? ORDER BY ended LIMIT ?
"""
RETRY = """
UPDATE task SET state = 'ready', attempts = 0, ended = NULL, value = NULL, cause = '', expires = NULL, begin_by = NULL
WHERE id = ? AND state = 'failed' RETURNING seq, job
"""
FORGET = "DELETE FROM task WHERE job = ? AND ended IS NOT NULL RETURNING state, job"
EXPIRE = """
DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE expires <= ? ORDER BY expires LIMIT ?) RETURNING state, job
"""
NEXT_EXPIRY = "SELECT min(expires) FROM task WHERE expires IS NOT NULL"

# As `taskyard.model.Found` and `Details` have them.
FOUND_COLUMNS = "id, job, name, state, -rank, attempts, cause, submitted"
FIND_ONE = f"SELECT {FOUND_COLUMNS} FROM task WHERE id = ?"
SHOW = f"""
SELECT {FOUND_COLUMNS}, coalesce(due, 0), coalesce(begin_by, 0), coalesce(expires - result_ttl, 0), coalesce(expires, 0),
    retries, backoff, time_limit, iif(?, coalesce(payload, x''), x''), coalesce(value, x'') FROM task WHERE id = ?
"""


def find(by_state: bool, by_job: bool) -> str:
    """Tasks of a state, of a job, of both or of neither, in the order of their age."""
    where = " AND ".join(["state = ?"] * by_state + ["job = ?"] * by_job) or "TRUE"
    return f"SELECT {FOUND_COLUMNS} FROM task WHERE {where} ORDER BY seq LIMIT ? OFFSET ?"


COUNT_JOB = """
INSERT INTO job (id, created, tasks, done, failed, cancelled) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET
    tasks = tasks + excluded.tasks, done = done + excluded.done, failed = failed + excluded.failed,
    cancelled = cancelled + excluded.cancelled
"""
REMOVE_JOB = "DELETE FROM job WHERE id = ? AND tasks = 0"
JOBS = "SELECT id, created, tasks, done, failed, cancelled FROM job ORDER BY seq DESC LIMIT ? OFFSET ?"
JOB = "SELECT id, created, tasks, done, failed, cancelled FROM job WHERE id = ?"

SCHEDULES = "SELECT * FROM schedule ORDER BY name"
SET_SCHEDULE = "INSERT OR REPLACE INTO schedule VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
MOVE_SCHEDULE = "UPDATE schedule SET since = ?, last = ? WHERE name = ?"
REMOVE_SCHEDULE = "DELETE FROM schedule WHERE name = ?"

ADD_ITEM = "INSERT INTO item (seq, queue, value) VALUES (?, ?, ?)"
ITEMS = "SELECT seq, value FROM item WHERE queue = ? AND seq > ? ORDER BY seq LIMIT ?"
REMOVE_ITEM = "DELETE FROM item WHERE seq = ?"
LAST_ITEM = "SELECT coalesce(max(seq), 0) FROM item"
COUNT_ITEMS = "SELECT queue, count(*) FROM item GROUP BY queue"
