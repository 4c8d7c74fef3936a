//! The tables.

/// Stands in `PRAGMA user_version`. A change of the tables gets the next number and a step in [`super::migration`].
pub(crate) const VERSION: i64 = 2;

/// Stands in `PRAGMA application_id` since version 2: `hwqu`.
pub(crate) const APPLICATION: i64 = 0x6877_7175;

/// The body, which is much larger than all else, comes last: SQLite reads a row from its beginning, and what lies on
/// pages of its own is left there until it is asked for.
///
/// `line`, `turn` and `phase` are hints that are written beside the body and save reading it; what is so is derived from
/// the body by the core.
pub(crate) const TABLES: &str = "
CREATE TABLE unit(
  id INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,                 -- 0 announcement, 1 image
  key TEXT NOT NULL UNIQUE,
  harbor TEXT NOT NULL,
  cluster TEXT NOT NULL,                 -- in whose name it stands in line
  state INTEGER NOT NULL DEFAULT 0,      -- 0 ready, 1 leased, 2 done, 3 dead, 4 unreadable
  line INTEGER NOT NULL,                 -- 0 under way, 1 looks, 2 beginnings, 3 misses, 4 suspects
  turn INTEGER,                          -- its number in the line; none: not before `due`
  due INTEGER NOT NULL,                  -- ready: not before; leased: until then; done: to be looked at again
  token INTEGER NOT NULL DEFAULT 0,
  crashes INTEGER NOT NULL DEFAULT 0,
  generation INTEGER NOT NULL DEFAULT 0, -- grows with every want that is new
  created INTEGER NOT NULL,
  updated INTEGER NOT NULL,
  phase INTEGER,                         -- none: not shown
  reason TEXT,
  body BLOB NOT NULL
) STRICT;
";

pub(crate) const WANTS: &str = "
CREATE TABLE want(
  id INTEGER PRIMARY KEY,
  unit INTEGER NOT NULL REFERENCES unit(id) ON DELETE CASCADE,
  key TEXT NOT NULL,
  body BLOB NOT NULL,
  asked INTEGER NOT NULL,
  UNIQUE(unit, key)
) STRICT;
";

/// `tally` counts the units as they change, within the same commit: a queue of a million is counted by reading a few
/// rows. `replication` has when a tag was recorded that a target still waits for. `moment` has one row: a moment that
/// the queue has seen.
pub(crate) const INDEXES: &str = "
CREATE INDEX unit_asleep ON unit(harbor, line, due) WHERE state = 0 AND turn IS NULL;
CREATE INDEX unit_standing ON unit(harbor, line, cluster, turn) WHERE state = 0 AND turn IS NOT NULL;
CREATE INDEX unit_leased ON unit(harbor, due) WHERE state = 1;
CREATE INDEX unit_resting ON unit(due) WHERE state = 2;
CREATE INDEX unit_finished ON unit(state, updated) WHERE state >= 2;
CREATE INDEX unit_phase ON unit(phase) WHERE phase IS NOT NULL;
CREATE TABLE replication(
  unit INTEGER NOT NULL REFERENCES unit(id) ON DELETE CASCADE,
  target TEXT NOT NULL,
  since INTEGER NOT NULL,
  PRIMARY KEY(unit, target)
) STRICT, WITHOUT ROWID;
CREATE INDEX replication_since ON replication(target, since);
CREATE TABLE tally(
  cluster TEXT NOT NULL,
  harbor TEXT NOT NULL,
  state INTEGER NOT NULL,
  line INTEGER NOT NULL,
  phase INTEGER NOT NULL,                -- -1: not shown
  units INTEGER NOT NULL,
  PRIMARY KEY(cluster, harbor, state, line, phase)
) STRICT, WITHOUT ROWID;
INSERT INTO tally SELECT cluster, harbor, state, line, coalesce(phase, -1), count(*) FROM unit GROUP BY 1, 2, 3, 4, 5;
CREATE TRIGGER unit_added AFTER INSERT ON unit BEGIN
  INSERT INTO tally VALUES(NEW.cluster, NEW.harbor, NEW.state, NEW.line, coalesce(NEW.phase, -1), 1)
  ON CONFLICT DO UPDATE SET units = units + 1;
END;
CREATE TRIGGER unit_removed AFTER DELETE ON unit BEGIN
  UPDATE tally SET units = units - 1 WHERE cluster = OLD.cluster AND harbor = OLD.harbor AND state = OLD.state
    AND line = OLD.line AND phase = coalesce(OLD.phase, -1);
END;
CREATE TRIGGER unit_changed AFTER UPDATE OF cluster, state, line, phase ON unit
WHEN OLD.state IS NOT NEW.state OR OLD.line IS NOT NEW.line OR OLD.phase IS NOT NEW.phase
  OR OLD.cluster IS NOT NEW.cluster
BEGIN
  UPDATE tally SET units = units - 1 WHERE cluster = OLD.cluster AND harbor = OLD.harbor AND state = OLD.state
    AND line = OLD.line AND phase = coalesce(OLD.phase, -1);
  INSERT INTO tally VALUES(NEW.cluster, NEW.harbor, NEW.state, NEW.line, coalesce(NEW.phase, -1), 1)
  ON CONFLICT DO UPDATE SET units = units + 1;
END;
CREATE TABLE moment(id INTEGER PRIMARY KEY CHECK(id = 0), at INTEGER NOT NULL) STRICT;
INSERT INTO moment VALUES(0, 0);
";
