BEGIN TRANSACTION;
PRAGMA user_version=5;
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
INSERT INTO "attempt" VALUES(2,1,1,'h','worker-1',1700000000.0,1700000000.0,'failed','exception: ValueError');
INSERT INTO "attempt" VALUES(3,1,1,'h','worker-1',1700000000.0,1700000000.0,'cancelled','cancelled');
INSERT INTO "attempt" VALUES(4,1,1,'h','worker-1',1700000000.0,1700000000.0,'failed','signal: SIGKILL (9)');
INSERT INTO "attempt" VALUES(14,1,1,'h','worker-1',1700000000.0,1700000000.0,'failed','signal: SIGKILL (9)');
INSERT INTO "attempt" VALUES(16,1,1,'h','worker-1',1700000000.0,1700000000.0,'cancelled','cancelled');
CREATE TABLE item (                           -- what foreign programs put into the tutorial's two queues
    seq   INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,                      -- task or result
    value BLOB NOT NULL                       -- pickled plain data
) STRICT;
CREATE TABLE job (                            -- how many rows of `task` each job has
    seq       INTEGER PRIMARY KEY,            -- age: order of first submits
    id        TEXT NOT NULL UNIQUE,
    created   REAL NOT NULL,                  -- epoch seconds, 0: as above
    tasks     INTEGER NOT NULL,               -- in whatever state
    done      INTEGER NOT NULL,
    failed    INTEGER NOT NULL,
    cancelled INTEGER NOT NULL
) STRICT;
INSERT INTO "job" VALUES(1,'first',1700000000.0,6,1,1,0);
INSERT INTO "job" VALUES(2,'after',1700000000.0,12,3,0,2);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('cursor',0);
INSERT INTO "meta" VALUES('paused',1);
CREATE TABLE part (                           -- tasks of a series that are not open any more
    seq     INTEGER PRIMARY KEY,              -- of the first
    last    INTEGER NOT NULL,                 -- seq of the last
    series  INTEGER NOT NULL,                 -- seq of the series
    job     TEXT NOT NULL,
    ended   INTEGER,                          -- done: results cursor of the last, behind those of the others; NULL: forgotten, or
    data    BLOB,                             -- rows of `task` now. Done: a pickled list of values
    expires REAL                              -- done: epoch seconds at which they are forgotten
, host TEXT NOT NULL DEFAULT '', session TEXT NOT NULL DEFAULT '', leased REAL NOT NULL DEFAULT 0) STRICT;
INSERT INTO "part" VALUES(9,11,9,'after',6,X'80059511000000000000005D9428430130944301319443013294652E',1700604800.0,'h','worker-1',1700000000.0);
INSERT INTO "part" VALUES(14,14,9,'after',NULL,NULL,NULL,'','',0.0);
INSERT INTO "part" VALUES(16,16,9,'after',NULL,NULL,NULL,'','',0.0);
CREATE TABLE payloads (
    seq  INTEGER PRIMARY KEY,                 -- of the series
    data BLOB NOT NULL                        -- a pickled list; dropped once none of its tasks is open
) STRICT;
INSERT INTO "payloads" VALUES(9,X'8005954B000000000000005D9428430470732D3094430470732D3194430470732D3294430470732D3394430470732D3494430470732D3594430470732D3694430470732D3794430470732D3894430470732D3994652E');
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
INSERT INTO "sample" VALUES(1700000010.0,10.0,2,6,3,1,18,4,1,2,'[15, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]','[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]');
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
INSERT INTO "series" VALUES(9,18,'s',0,'after','work',-1,-1,1.0,0.0,604800.0,1700000000.0,5,8);
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
    expires    REAL, host TEXT NOT NULL DEFAULT '', session TEXT NOT NULL DEFAULT '', leased REAL NOT NULL DEFAULT 0,                          -- ended: epoch seconds at which it is forgotten
    UNIQUE (prefix, number)
) STRICT;
INSERT INTO "task" VALUES(1,'done',-1,'first','work',NULL,0,-1,1.0,0.0,604800.0,1700000000.0,NULL,'done',NULL,1,1,X'76616C7565','',1700604800.0,'h','worker-1',1700000000.0);
INSERT INTO "task" VALUES(2,'failed',-1,'first','work',X'706661696C6564',0,0,1.0,0.0,604800.0,1700000000.0,NULL,'failed',NULL,1,2,X'6572726F72','exception: ValueError',1700604800.0,'','',0.0);
INSERT INTO "task" VALUES(3,'cancelled',-1,'after','work',X'7063616E63656C6C6564',0,-1,1.0,0.0,604800.0,1700000000.0,NULL,'cancelled',NULL,0,3,X'','cancelled',1700604800.0,'','',0.0);
INSERT INTO "task" VALUES(4,'retried',-1,'after','work',X'7072657472696564',0,3,100.0,0.0,604800.0,1700000000.0,NULL,'delayed',1.70000010704135608675e+09,1,NULL,NULL,'signal: SIGKILL (9)',NULL,'','',0.0);
INSERT INTO "task" VALUES(5,'leased',-1,'first','work',X'706C6561736564',0,-1,1.0,0.0,604800.0,1700000000.0,NULL,'ready',NULL,0,NULL,NULL,'',NULL,'','',0.0);
INSERT INTO "task" VALUES(6,'ready',-1,'first','work',X'707265616479',0,-1,1.0,0.0,604800.0,1700000000.0,NULL,'ready',NULL,0,NULL,NULL,'',NULL,'','',0.0);
INSERT INTO "task" VALUES(7,'delayed',-1,'first','work',X'7064656C61796564',0,-1,1.0,0.0,604800.0,1700000000.0,NULL,'delayed',1700001000.0,0,NULL,NULL,'',NULL,'','',0.0);
INSERT INTO "task" VALUES(8,'late',-1,'first','work',X'706C617465',0,-1,1.0,0.0,604800.0,1700000000.0,1700005000.0,'ready',NULL,0,NULL,NULL,'',NULL,'','',0.0);
INSERT INTO "task" VALUES(14,'s',5,'after','work',X'70732D35',-1,-1,1.0,0.0,604800.0,1700000000.0,NULL,'delayed',1700000100.0,1,NULL,NULL,'signal: SIGKILL (9)',NULL,'','',0.0);
INSERT INTO "task" VALUES(16,'s',7,'after','work',X'70732D37',-1,-1,1.0,0.0,604800.0,1700000000.0,NULL,'cancelled',NULL,0,7,X'','cancelled',1700604800.0,'','',0.0);
CREATE INDEX item_queue ON item (queue, seq);
CREATE INDEX task_ready ON task (name, rank, seq) WHERE state = 'ready';
CREATE INDEX task_delayed ON task (due) WHERE state = 'delayed';
CREATE INDEX task_ended ON task (job, ended) WHERE ended IS NOT NULL;
CREATE INDEX task_expires ON task (expires) WHERE expires IS NOT NULL;
CREATE INDEX task_failed ON task (seq) WHERE state = 'failed';
CREATE INDEX task_job ON task (job);
CREATE INDEX task_begin_by ON task (begin_by) WHERE begin_by IS NOT NULL AND attempts = 0 AND ended IS NULL;
CREATE INDEX series_ready ON series (name, rank, last) WHERE open > 0;
CREATE INDEX series_job ON series (job);
CREATE INDEX part_ended ON part (job, ended) WHERE ended IS NOT NULL;
CREATE INDEX part_expires ON part (expires) WHERE expires IS NOT NULL;
CREATE TRIGGER task_gone AFTER DELETE ON task BEGIN DELETE FROM attempt WHERE task = old.seq; END;
COMMIT;
