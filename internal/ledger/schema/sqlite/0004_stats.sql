-- +goose Up
-- How many messages came to which state, and what became of grants, by template and hour.
CREATE TABLE stats (
  template_no INTEGER NOT NULL,
  hour        INTEGER NOT NULL,  -- since 1970, UTC
  what        INTEGER NOT NULL,  -- 1 to 11: the state that messages came to; 12 submitted; of grants 13 granted 14 rejected 15 voided
  reason      TEXT NOT NULL,     -- of a failure
  errcode     INTEGER NOT NULL,
  n           INTEGER NOT NULL,
  PRIMARY KEY (template_no, hour, what, reason, errcode)
) WITHOUT ROWID;
CREATE INDEX stats_age ON stats (hour);

-- What transactions counted, until it is added to stats: nobody waits for a row of these.
CREATE TABLE stat_deltas (
  id          BLOB PRIMARY KEY,  -- ULID
  template_no INTEGER NOT NULL,
  hour        INTEGER NOT NULL,
  what        INTEGER NOT NULL,
  reason      TEXT NOT NULL,
  errcode     INTEGER NOT NULL,
  n           INTEGER NOT NULL
) WITHOUT ROWID;
