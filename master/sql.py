"""Every SQL statement of the store, by the name of what it does.

Tasks that were submitted in a series share a row of ``series``, their payloads a row of ``payloads``; runs of them that are
done share a row of ``part``. A task that was submitted alone has a row of ``task``, and so has one of a series from the moment
that it differs from the others: when it fails, is cancelled or put off. ``seq`` counts through all of them.

A lease is not written down: a leased task stays ready on the disk, so that after a crash of the master whatever was out is
simply given out again.
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
SERIES = """
ALTER TABLE task RENAME TO old_task;
CREATE TABLE task (
    seq        INTEGER PRIMARY KEY,           -- age: order of submitting
    prefix     TEXT NOT NULL,                 -- the id, split by `taskyard.series.split_id`
    number     INTEGER NOT NULL,
    id         TEXT AS (iif(number < 0, prefix, prefix || '-' || number)) VIRTUAL,
    job        TEXT NOT NULL,
    name       TEXT NOT NULL,
    payload    BLOB,                          -- dropped once the task is done
    rank       INTEGER NOT NULL,              -- its priority, negated: lower goes first
    retries    INTEGER NOT NULL,
    backoff    REAL NOT NULL,                 -- seconds
    time_limit REAL NOT NULL,                 -- seconds, 0: none
    result_ttl REAL NOT NULL,                 -- seconds
    submitted  REAL NOT NULL,                 -- epoch seconds, 0: by a release that did not keep it
    begin_by   REAL,                          -- epoch seconds until which its first attempt must begin; NULL: no bound
    state      TEXT NOT NULL,                 -- ready (leased ones too), delayed, done, failed, cancelled
    due        REAL,                          -- delayed: epoch seconds at which it becomes ready
    attempts   INTEGER NOT NULL DEFAULT 0,    -- failed ones; with an end, the last one too
    ended      INTEGER,                       -- results cursor; NULL: open
    value      BLOB,
    cause      TEXT NOT NULL DEFAULT '',
    expires    REAL,                          -- ended: epoch seconds at which it is forgotten
    UNIQUE (prefix, number)
) STRICT;
INSERT INTO task SELECT seq, prefix_of(id), number_of(id), job, name, payload, rank, retries, backoff, time_limit, result_ttl,
    submitted, begin_by, state, due, attempts, ended, value, cause, expires FROM old_task;
DROP TABLE old_task;
CREATE INDEX task_ready ON task (name, rank, seq) WHERE state = 'ready';
CREATE INDEX task_delayed ON task (due) WHERE state = 'delayed';
CREATE INDEX task_ended ON task (job, ended) WHERE ended IS NOT NULL;
CREATE INDEX task_expires ON task (expires) WHERE expires IS NOT NULL;
CREATE INDEX task_failed ON task (seq) WHERE state = 'failed';
CREATE INDEX task_job ON task (job);           -- and, as every index, by seq
CREATE INDEX task_begin_by ON task (begin_by) WHERE begin_by IS NOT NULL AND attempts = 0 AND ended IS NULL;
CREATE TABLE series (
    seq        INTEGER PRIMARY KEY,           -- of its first task
    last       INTEGER NOT NULL,              -- seq of its last one
    prefix     TEXT NOT NULL,                 -- of their ids
    first      INTEGER NOT NULL,              -- number of the first
    job        TEXT NOT NULL,                 -- and so on as in `task`
    name       TEXT NOT NULL,
    rank       INTEGER NOT NULL,
    retries    INTEGER NOT NULL,
    backoff    REAL NOT NULL,
    time_limit REAL NOT NULL,
    result_ttl REAL NOT NULL,
    submitted  REAL NOT NULL,
    open       INTEGER NOT NULL,              -- tasks of which no row of `part` tells
    kept       INTEGER NOT NULL,              -- those, and done ones whose results are kept
    UNIQUE (prefix, first)
) STRICT;
CREATE INDEX series_ready ON series (name, rank, last) WHERE open > 0;
CREATE INDEX series_job ON series (job);
CREATE TABLE payloads (
    seq  INTEGER PRIMARY KEY,                 -- of the series
    data BLOB NOT NULL                        -- a pickled list; dropped once none of its tasks is open
) STRICT;
CREATE TABLE part (                           -- tasks of a series that are not open any more
    seq     INTEGER PRIMARY KEY,              -- of the first
    last    INTEGER NOT NULL,                 -- seq of the last
    series  INTEGER NOT NULL,                 -- seq of the series
    job     TEXT NOT NULL,
    ended   INTEGER,                          -- done: results cursor of the last, behind those of the others; NULL: forgotten, or
    data    BLOB,                             -- rows of `task` now. Done: a pickled list of values
    expires REAL                              -- done: epoch seconds at which they are forgotten
) STRICT;
CREATE INDEX part_ended ON part (job, ended) WHERE ended IS NOT NULL;
CREATE INDEX part_expires ON part (expires) WHERE expires IS NOT NULL;
"""
HISTORY = """
CREATE TABLE sample (                         -- what the queue did in a stretch of time; none where nothing has changed
    at        REAL PRIMARY KEY,               -- epoch seconds of its end
    seconds   REAL NOT NULL,                  -- its length
    ready     INTEGER NOT NULL,               -- at its end, as the next three
    leased    INTEGER NOT NULL,
    delayed   INTEGER NOT NULL,
    workers   INTEGER NOT NULL,
    submitted INTEGER NOT NULL,               -- within it, as all others
    done      INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    cancelled INTEGER NOT NULL,
    wait      TEXT NOT NULL,                  -- how many tasks by bucket of `taskyard.histogram`, as a JSON list
    run       TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""
ATTEMPTS = """
ALTER TABLE task ADD COLUMN host TEXT NOT NULL DEFAULT '';     -- done: who had the last attempt, '': it was by a release
ALTER TABLE task ADD COLUMN session TEXT NOT NULL DEFAULT '';  -- that did not keep it
ALTER TABLE task ADD COLUMN leased REAL NOT NULL DEFAULT 0;    -- and since when, in epoch seconds, 0: not known
ALTER TABLE part ADD COLUMN host TEXT NOT NULL DEFAULT '';     -- the same of all its tasks
ALTER TABLE part ADD COLUMN session TEXT NOT NULL DEFAULT '';
ALTER TABLE part ADD COLUMN leased REAL NOT NULL DEFAULT 0;
CREATE TABLE attempt (                        -- the last ones of tasks that did not end well
    task    INTEGER NOT NULL,                 -- seq of the task
    nth     INTEGER NOT NULL,                 -- grows with each, while numbers begin anew when a task is retried
    number  INTEGER NOT NULL,
    host    TEXT NOT NULL,
    session TEXT NOT NULL,
    leased  REAL NOT NULL,                    -- epoch seconds
    ended   REAL NOT NULL,                    -- epoch seconds
    kind    TEXT NOT NULL,                    -- failed, cancelled
    cause   TEXT NOT NULL,
    PRIMARY KEY (task, nth)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER task_gone AFTER DELETE ON task BEGIN DELETE FROM attempt WHERE task = old.seq; END;
"""
FAILED_FIRST = """
-- Of many failed tasks those that failed first, without a look at all of them.
CREATE INDEX task_failed_first ON task (ended) WHERE state = 'failed' AND ended IS NOT NULL;
"""
MIGRATIONS = (SCHEMA, JOBS_AND_SCHEDULES, SERIES, HISTORY, ATTEMPTS, FAILED_FIRST)
"""Each makes a file of the version before it, beginning with an empty one, into one of the next."""
VERSION = len(MIGRATIONS)
"""``PRAGMA user_version``; a file with a higher one was written by a newer release."""

ADD_TASK = """
INSERT INTO task (seq, prefix, number, job, name, payload, rank, retries, backoff, time_limit, result_ttl, submitted, begin_by,
    state, due)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (prefix, number) DO NOTHING
"""
LAST_SEQ = "SELECT max(coalesce((SELECT max(seq) FROM task), 0), coalesce((SELECT max(last) FROM series), 0))"
LAST_CURSOR = """
SELECT max(coalesce((SELECT max(ended) FROM task), 0), coalesce((SELECT max(ended) FROM part), 0),
    (SELECT value FROM meta WHERE key = 'cursor'))
"""
KEEP_CURSOR = "UPDATE meta SET value = max(value, ?) WHERE key = 'cursor'"
IS_PAUSED = "SELECT value FROM meta WHERE key = 'paused'"
PAUSE = "INSERT INTO meta VALUES ('paused', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
COUNT_STATES = """
SELECT state, sum(many) FROM (
    SELECT state, count(*) AS many FROM task GROUP BY state
    UNION ALL SELECT 'ready', sum(open) FROM series
    UNION ALL SELECT 'done', sum(kept - open) FROM series
) GROUP BY state HAVING sum(many) > 0
"""
READY_NAMES = "SELECT name FROM task WHERE state = 'ready' UNION SELECT name FROM series WHERE open > 0"

# `ready` columns; a big payload is fetched when the task is leased. Of a ready task `due` is when it became ready, where that was
# not at its submit.
INLINE_BYTES = 2048
READY_COLUMNS = f"""
    rank, seq, prefix, number, job, name, iif(length(payload) <= {INLINE_BYTES}, payload, NULL), time_limit, attempts,
    coalesce(begin_by, 9e999), coalesce(due, submitted)
"""
READY = f"""
SELECT {READY_COLUMNS} FROM task WHERE state = 'ready' AND name = ? AND (rank, seq) > (?, ?) ORDER BY rank, seq LIMIT ?
"""
READY_BY_SEQ = f"SELECT {READY_COLUMNS} FROM task WHERE seq = ?"
PAYLOAD = "SELECT payload FROM task WHERE seq = ?"
BY_ID = "SELECT seq, state, job, name, attempts FROM task WHERE prefix = ? AND number = ?"
NUMBERS = "SELECT number FROM task WHERE prefix = ? AND number BETWEEN ? AND ?"
RETRY_RULES = "SELECT retries, backoff FROM task WHERE seq = ?"

# An end is written once: each of these names the states in which the task is still open.
END_DONE = """
UPDATE task SET state = 'done', ended = ?, value = ?, attempts = attempts + 1, expires = ? + result_ttl,
    payload = NULL, due = NULL, cause = '', host = ?, session = ?, leased = ? WHERE seq = ? AND state IN ('ready', 'delayed')
"""
END = """
UPDATE task SET state = ?, ended = ?, value = ?, cause = ?, attempts = ?, expires = ? + result_ttl, due = NULL
WHERE seq = ? AND state IN ('ready', 'delayed')
"""
SET_ATTEMPT = "UPDATE task SET host = ?, session = ?, leased = ? WHERE seq = ?"
DELAY = "UPDATE task SET state = 'delayed', due = ?, attempts = ?, cause = ? WHERE seq = ? AND state IN ('ready', 'delayed')"
DUE = "SELECT seq FROM task WHERE state = 'delayed' AND due <= ? ORDER BY due LIMIT ?"
MAKE_READY = "UPDATE task SET state = 'ready' WHERE seq = ? AND state = 'delayed'"
PUT_OFF_TOO_FAR = """
SELECT seq, iif(attempts, due - ?1, ?2 + due - submitted), iif(attempts, submitted, ?2) FROM task
WHERE state = 'delayed' AND iif(attempts, ?1 > 0, submitted > ?2)
"""
"""By a clock that was set back by so many seconds to this moment. When a retry was put off is not known; a task that was
submitted in the future speaks for itself, and is as if submitted now, so that it is put right once and not at each start."""
PUT_OFF = "UPDATE task SET due = ?2, begin_by = begin_by - submitted + ?3, submitted = ?3 WHERE seq = ?1"
NEXT_DUE = "SELECT min(due) FROM task WHERE state = 'delayed'"
NOT_BEGUN = """
SELECT seq, state, job, name, begin_by - submitted FROM task
WHERE begin_by <= ? AND attempts = 0 AND ended IS NULL ORDER BY begin_by LIMIT ?
"""

RESULTS = """
SELECT ended, prefix, number, state, coalesce(value, x''), cause, attempts FROM task
WHERE job = ? AND ended > ? ORDER BY ended
"""
RETRY = """
UPDATE task SET state = 'ready', due = ?, attempts = 0, ended = NULL, value = NULL, cause = '', expires = NULL, begin_by = NULL
WHERE prefix = ? AND number = ? AND state = 'failed' RETURNING seq, job
"""
FORGET = "DELETE FROM task WHERE job = ? AND ended IS NOT NULL RETURNING state, job"
EXPIRE = """
DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE expires <= ? ORDER BY expires LIMIT ?) RETURNING state, job
"""
NEXT_EXPIRY = """
SELECT min(expires) FROM (
    SELECT min(expires) AS expires FROM task WHERE expires IS NOT NULL
    UNION ALL SELECT min(expires) FROM part WHERE expires IS NOT NULL
)
"""

# As `taskyard.model.Found` and `Details` have them, behind the seq.
FOUND_COLUMNS = "seq, id, job, name, state, -rank, attempts, cause, submitted"
FIND_ONE = f"SELECT {FOUND_COLUMNS} FROM task WHERE seq = ?"
SHOW = f"""
SELECT {FOUND_COLUMNS}, iif(state = 'delayed', due, 0), coalesce(begin_by, 0), coalesce(expires - result_ttl, 0),
    coalesce(expires, 0), retries, backoff, time_limit, iif(?, coalesce(payload, x''), x''), coalesce(value, x'')
FROM task WHERE prefix = ? AND number = ?
"""


def find(state: object, job: object, name: object, text: object) -> str:
    """Tasks of a state, of a job, of a name, with a text in their ids, in the order of their age. What is None is not asked for;
    the rest are the arguments, and the seq to begin with."""
    return f"SELECT {FOUND_COLUMNS} FROM task WHERE {_asked(state, job, name, text)} AND seq >= ? ORDER BY seq"


def count(state: object, job: object, name: object, text: object) -> str:
    """How many of these there are, and the seq of the last; further arguments: the seqs to begin with and before which to end,
    and how many are counted at most."""
    where = _asked(state, job, name, text)
    return f"SELECT count(*), max(seq) FROM (SELECT seq FROM task WHERE {where} AND seq >= ? AND seq < ? ORDER BY seq LIMIT ?)"


def _asked(state: object, job: object, name: object, text: object) -> str:
    return _all({"state = ?": state, "job = ?": job, "name = ?": name, "instr(id, ?)": text})


def _all(conditions: dict[str, object]) -> str:
    """Those that are asked for: whose argument is not None."""
    return " AND ".join(words for words, value in conditions.items() if value is not None) or "TRUE"


def failed(name: object, job: object, cause: object) -> str:
    """Prefix and number of failed tasks, those that failed first. What is None is not asked for; the rest are the arguments, and
    a limit."""
    where = _all({"name = ?": name, "job = ?": job, "substr(cause, 1, length(?)) = ?": cause})
    return f"SELECT prefix, number FROM task WHERE state = 'failed' AND ended IS NOT NULL AND {where} ORDER BY ended LIMIT ?"


ADD_SERIES = """
INSERT INTO series (seq, last, prefix, first, job, name, rank, retries, backoff, time_limit, result_ttl, submitted, open, kept)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
ADD_PAYLOADS = "INSERT INTO payloads VALUES (?, ?)"
PAYLOADS = "SELECT data FROM payloads WHERE seq = ?"
SERIES_COLUMNS = (
    "seq, last, prefix, first, job, name, rank, retries, backoff, time_limit, result_ttl, submitted, open, kept"  # as `Series`
)
SERIES_BEFORE = f"SELECT {SERIES_COLUMNS} FROM series WHERE prefix = ? AND first <= ? ORDER BY first DESC LIMIT 1"
SERIES_BY_SEQ = f"SELECT {SERIES_COLUMNS} FROM series WHERE seq = ?"
READY_SERIES = f"""
SELECT {SERIES_COLUMNS} FROM series WHERE name = ? AND open > 0 AND (rank, last) > (?, ?) ORDER BY rank, last
"""
ALL_SERIES = f"SELECT {SERIES_COLUMNS} FROM series ORDER BY seq"
SERIES_OF_JOB = f"SELECT {SERIES_COLUMNS} FROM series WHERE job = ? ORDER BY seq"
CLOSE_TASKS = "UPDATE series SET open = open - ?, kept = kept - ? WHERE seq = ? RETURNING last, open, kept"
DROP_PAYLOADS = "DELETE FROM payloads WHERE seq = ?"
REMOVE_SERIES = "DELETE FROM series WHERE seq = ?"
REMOVE_PARTS = "DELETE FROM part WHERE seq BETWEEN ? AND ?"
PARTS = "SELECT seq, last, ended IS NOT NULL FROM part WHERE seq BETWEEN ? AND ? ORDER BY seq"
PART_OF = "SELECT seq, last, ended IS NOT NULL, expires FROM part WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
VALUES_OF = "SELECT seq, data FROM part WHERE seq <= ? ORDER BY seq DESC LIMIT 1"
ADD_DONE = "INSERT INTO part SELECT ?, ?, seq, job, ?, ?, ? + result_ttl, ?, ?, ? FROM series WHERE seq = ?"
ADD_GONE = "INSERT INTO part (seq, last, series, job) SELECT ?, ?, seq, job FROM series WHERE seq = ?"
GIVE_ROW = """
INSERT INTO task (seq, prefix, number, job, name, payload, rank, retries, backoff, time_limit, result_ttl, submitted, state)
SELECT ?, prefix, first + ? - seq, job, name, ?, rank, retries, backoff, time_limit, result_ttl, submitted, 'ready'
FROM series WHERE seq = ?
"""
RESULTS_OF_PARTS = """
SELECT part.ended, part.last - part.seq + 1, prefix, first + part.seq - series.seq, data
FROM part JOIN series ON series.seq = part.series WHERE part.job = ? AND part.ended > ? ORDER BY part.ended
"""
FORGET_PARTS = """
UPDATE part SET ended = NULL, data = NULL, expires = NULL WHERE job = ? AND ended IS NOT NULL
RETURNING series, job, last - seq + 1
"""
EXPIRE_PARTS = """
UPDATE part SET ended = NULL, data = NULL, expires = NULL
WHERE seq IN (SELECT seq FROM part WHERE expires <= ? ORDER BY expires LIMIT ?) RETURNING series, job, last - seq + 1
"""

KEPT_ATTEMPTS = 20
"""Of each task, those that did not end well."""
ADD_ATTEMPT = """
INSERT INTO attempt SELECT ?1, coalesce(max(nth), 0) + 1, ?, ?, ?, ?, ?, ?, ? FROM attempt WHERE task = ?1
"""
TRIM_ATTEMPTS = f"DELETE FROM attempt WHERE task = ?1 AND nth <= (SELECT max(nth) FROM attempt WHERE task = ?1) - {KEPT_ATTEMPTS}"
ATTEMPTS_OF = "SELECT number, host, session, leased, ended, kind, cause FROM attempt WHERE task = ? ORDER BY nth"
DONE_ATTEMPT = "SELECT attempts, host, session, leased, expires - result_ttl, 'done', '' FROM task WHERE seq = ?"
DONE_ATTEMPT_OF_PART = """
SELECT 1, part.host, part.session, part.leased, part.expires - series.result_ttl, 'done', ''
FROM part JOIN series ON series.seq = part.series WHERE part.seq <= ? ORDER BY part.seq DESC LIMIT 1
"""

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

SAMPLES = "SELECT * FROM sample WHERE at > ? AND at <= ? AND seconds < ? ORDER BY at"
PUT_SAMPLE = "INSERT OR REPLACE INTO sample VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
REMOVE_SAMPLE = "DELETE FROM sample WHERE at = ?"
REMOVE_SAMPLES = "DELETE FROM sample WHERE at <= ?"
