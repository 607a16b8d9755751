BEGIN TRANSACTION;
PRAGMA user_version=2;
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
INSERT INTO "job" VALUES(1,'first',1700000000.0,3,2,1,0);
INSERT INTO "job" VALUES(2,'after',1700000000.0,5,0,0,1);
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('cursor',0);
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
INSERT INTO "schedule" VALUES('work','every 3600','UTC','latest',X'',0,0,1.0,0.0,1000000000.0,0.0,1700000000.0,0.0);
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
, submitted REAL NOT NULL DEFAULT 0, begin_by REAL) STRICT;
INSERT INTO "task" VALUES(1,'done-1','first','work',NULL,0,-1,1.0,0.0,604800.0,'done',NULL,1,1,X'76616C7565','',1700604800.0,1700000000.0,NULL);
INSERT INTO "task" VALUES(2,'done-2','first','work',NULL,0,-1,1.0,0.0,604800.0,'done',NULL,1,2,X'76616C7565','',1700604800.0,1700000000.0,NULL);
INSERT INTO "task" VALUES(3,'failed-1','first','work',X'706661696C65642D31',0,0,1.0,0.0,604800.0,'failed',NULL,1,3,X'6572726F72','exception: ValueError',1700604800.0,1700000000.0,NULL);
INSERT INTO "task" VALUES(4,'delayed-7','after','work',X'7064656C617965642D37',0,-1,1.0,0.0,604800.0,'delayed',1700003600.0,0,NULL,NULL,'',NULL,1700000000.0,NULL);
INSERT INTO "task" VALUES(5,'ready-07','after','work',X'7072656164792D3037',-2,-1,1.0,0.0,604800.0,'ready',NULL,0,NULL,NULL,'',NULL,1700000000.0,NULL);
INSERT INTO "task" VALUES(6,'ready-8','after','work',X'7072656164792D38',0,-1,1.0,0.0,604800.0,'ready',NULL,0,NULL,NULL,'',NULL,1700000000.0,2600000000.0);
INSERT INTO "task" VALUES(7,'ready-9','after','work',X'7072656164792D39',0,-1,1.0,0.0,604800.0,'ready',NULL,0,NULL,NULL,'',NULL,1700000000.0,NULL);
INSERT INTO "task" VALUES(8,'cancelled','after','work',X'7063616E63656C6C6564',0,-1,1.0,0.0,604800.0,'cancelled',NULL,0,4,X'','cancelled',1700604800.0,1700000000.0,NULL);
CREATE INDEX task_ready ON task (name, rank, seq) WHERE state = 'ready';
CREATE INDEX task_delayed ON task (due) WHERE state = 'delayed';
CREATE INDEX task_ended ON task (job, ended) WHERE ended IS NOT NULL;
CREATE INDEX task_expires ON task (expires) WHERE expires IS NOT NULL;
CREATE INDEX task_failed ON task (seq) WHERE state = 'failed';
CREATE INDEX item_queue ON item (queue, seq);
CREATE INDEX task_job ON task (job);
CREATE INDEX task_begin_by ON task (begin_by) WHERE begin_by IS NOT NULL AND attempts = 0 AND ended IS NULL;
COMMIT;
