BEGIN TRANSACTION;
PRAGMA user_version=1;
CREATE TABLE item (                           -- what foreign programs put into the tutorial's two queues
    seq   INTEGER PRIMARY KEY,
    queue TEXT NOT NULL,                      -- task or result
    value BLOB NOT NULL                       -- pickled plain data
) STRICT;
INSERT INTO "item" VALUES(1,'task',X'80054B292E');
CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('cursor',1);
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
INSERT INTO "task" VALUES(2,'ready','first','work',X'707265616479',-2,-1,1.0,0.0,1000000000.0,'ready',NULL,0,NULL,NULL,'',NULL);
INSERT INTO "task" VALUES(3,'leased','first','work',X'706C6561736564',-9,-1,1.0,5.0,1000000000.0,'ready',NULL,0,NULL,NULL,'',NULL);
INSERT INTO "task" VALUES(4,'done','after','work',NULL,-8,-1,1.0,0.0,1000000000.0,'done',NULL,1,2,X'76616C7565','',2700000005.0);
INSERT INTO "task" VALUES(5,'failed','first','work',X'706661696C6564',-7,0,1.0,0.0,1000000000.0,'failed',NULL,1,3,X'6572726F72','exit: 3',2700000005.0);
INSERT INTO "task" VALUES(6,'retrying','after','work',X'707265747279696E67',-6,3,60.0,0.0,1000000000.0,'delayed',1.70000006420974469185e+09,1,NULL,NULL,'signal: SIGKILL (9)',NULL);
INSERT INTO "task" VALUES(7,'delayed','first','work',X'7064656C61796564',0,-1,1.0,0.0,1000000000.0,'delayed',1700003605.0,0,NULL,NULL,'',NULL);
INSERT INTO "task" VALUES(8,'cancelled','after','work',X'7063616E63656C6C6564',0,-1,1.0,0.0,1000000000.0,'cancelled',NULL,0,4,X'','cancelled',2700000005.0);
INSERT INTO "task" VALUES(9,'ready too','after','work',X'70726561647920746F6F',0,-1,1.0,0.0,1000000000.0,'ready',NULL,0,NULL,NULL,'',NULL);
CREATE INDEX task_ready ON task (name, rank, seq) WHERE state = 'ready';
CREATE INDEX task_delayed ON task (due) WHERE state = 'delayed';
CREATE INDEX task_ended ON task (job, ended) WHERE ended IS NOT NULL;
CREATE INDEX task_expires ON task (expires) WHERE expires IS NOT NULL;
CREATE INDEX task_failed ON task (seq) WHERE state = 'failed';
CREATE INDEX item_queue ON item (queue, seq);
COMMIT;
