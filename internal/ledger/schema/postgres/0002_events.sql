-- +goose Up
-- What happened, for whoever subscribed to it; written with the change itself.
CREATE TABLE events (
  no     bigint PRIMARY KEY,    -- in the order of the commits, so that a reader who goes on behind one misses none
  id     bytea NOT NULL UNIQUE, -- ULID
  type   text NOT NULL,
  app_no bigint NOT NULL,       -- 0: about no app
  at     bigint NOT NULL,
  data   text NOT NULL          -- JSON
);

CREATE TABLE webhooks (
  no              bigint PRIMARY KEY,
  id              text NOT NULL UNIQUE,
  url             text NOT NULL,
  events          text NOT NULL,    -- JSON
  apps            text NOT NULL,    -- JSON
  description     text NOT NULL,
  secret          bytea NOT NULL,   -- sealed
  previous        bytea,            -- sealed; the secret before the latest rotation
  previous_until  bigint NOT NULL,
  disabled_at     bigint NOT NULL,  -- 0: it is enabled
  disabled_reason text NOT NULL,
  failing_since   bigint NOT NULL,  -- 0: the latest delivery succeeded
  created_at      bigint NOT NULL,
  updated_at      bigint NOT NULL,
  deleted_at      bigint NOT NULL   -- 0: it is there; else the row goes once its deliveries have gone
);

-- Readers of the stream of events: while one is there, what it wants is recorded.
CREATE TABLE event_readers (
  id     text PRIMARY KEY,  -- made from what it wants, so that one who comes again finds its row
  events text NOT NULL,     -- JSON
  apps   text NOT NULL,     -- JSON
  until  bigint NOT NULL
);

CREATE TABLE deliveries (
  webhook_no  bigint NOT NULL,
  id          bytea NOT NULL,    -- ULID
  event_no    bigint NOT NULL,
  state       smallint NOT NULL, -- 1 pending 2 delivered 3 failed
  attempts    smallint NOT NULL,
  next_at     bigint NOT NULL,   -- while somebody posts it: when it is taken for lost
  http_status smallint NOT NULL DEFAULT 0,
  error       text NOT NULL DEFAULT '',
  response    text NOT NULL DEFAULT '',
  created_at  bigint NOT NULL,
  updated_at  bigint NOT NULL,
  PRIMARY KEY (webhook_no, id)
);
CREATE INDEX deliveries_due ON deliveries (webhook_no, next_at) WHERE state = 1;
