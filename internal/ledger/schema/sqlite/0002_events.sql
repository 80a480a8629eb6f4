-- +goose Up
-- What happened, for whoever subscribed to it; written with the change itself.
CREATE TABLE events (
  no     INTEGER PRIMARY KEY,   -- in the order of the commits, so that a reader who goes on behind one misses none
  id     BLOB NOT NULL UNIQUE,  -- ULID
  type   TEXT NOT NULL,
  app_no INTEGER NOT NULL,      -- 0: about no app
  at     INTEGER NOT NULL,
  data   TEXT NOT NULL          -- JSON
);

CREATE TABLE webhooks (
  no              INTEGER PRIMARY KEY,
  id              TEXT NOT NULL UNIQUE,
  url             TEXT NOT NULL,
  events          TEXT NOT NULL,     -- JSON
  apps            TEXT NOT NULL,     -- JSON
  description     TEXT NOT NULL,
  secret          BLOB NOT NULL,     -- sealed
  previous        BLOB,              -- sealed; the secret before the latest rotation
  previous_until  INTEGER NOT NULL,
  disabled_at     INTEGER NOT NULL,  -- 0: it is enabled
  disabled_reason TEXT NOT NULL,
  failing_since   INTEGER NOT NULL,  -- 0: the latest delivery succeeded
  created_at      INTEGER NOT NULL,
  updated_at      INTEGER NOT NULL,
  deleted_at      INTEGER NOT NULL   -- 0: it is there; else the row goes once its deliveries have gone
);

-- Readers of the stream of events: while one is there, what it wants is recorded.
CREATE TABLE event_readers (
  id     TEXT PRIMARY KEY,  -- made from what it wants, so that one who comes again finds its row
  events TEXT NOT NULL,     -- JSON
  apps   TEXT NOT NULL,     -- JSON
  until  INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE deliveries (
  webhook_no  INTEGER NOT NULL,
  id          BLOB NOT NULL,     -- ULID
  event_no    INTEGER NOT NULL,
  state       INTEGER NOT NULL,  -- 1 pending 2 delivered 3 failed
  attempts    INTEGER NOT NULL,
  next_at     INTEGER NOT NULL,  -- while somebody posts it: when it is taken for lost
  http_status INTEGER NOT NULL DEFAULT 0,
  error       TEXT NOT NULL DEFAULT '',
  response    TEXT NOT NULL DEFAULT '',
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL,
  PRIMARY KEY (webhook_no, id)
) WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (webhook_no, next_at) WHERE state = 1;
