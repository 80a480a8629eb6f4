-- +goose Up
-- What happened, for whoever subscribed to it; written with the change itself.
CREATE TABLE IF NOT EXISTS events (
  no     BIGINT PRIMARY KEY,         -- in the order of the commits, so that a reader who goes on behind one misses none
  id     BINARY(16) NOT NULL UNIQUE, -- ULID
  type   VARCHAR(64) NOT NULL,
  app_no BIGINT NOT NULL,            -- 0: about no app
  at     BIGINT NOT NULL,
  data   MEDIUMTEXT NOT NULL         -- JSON
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS webhooks (
  no              BIGINT PRIMARY KEY,
  id              VARCHAR(64) NOT NULL UNIQUE,
  url             TEXT NOT NULL,
  events          TEXT NOT NULL,       -- JSON
  apps            TEXT NOT NULL,       -- JSON
  description     TEXT NOT NULL,
  secret          BLOB NOT NULL,       -- sealed
  previous        BLOB,                -- sealed; the secret before the latest rotation
  previous_until  BIGINT NOT NULL,
  disabled_at     BIGINT NOT NULL,     -- 0: it is enabled
  disabled_reason VARCHAR(16) NOT NULL,
  failing_since   BIGINT NOT NULL,     -- 0: the latest delivery succeeded
  created_at      BIGINT NOT NULL,
  updated_at      BIGINT NOT NULL,
  deleted_at      BIGINT NOT NULL      -- 0: it is there; else the row goes once its deliveries have gone
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Readers of the stream of events: while one is there, what it wants is recorded.
CREATE TABLE IF NOT EXISTS event_readers (
  id     VARCHAR(64) PRIMARY KEY,  -- made from what it wants, so that one who comes again finds its row
  events TEXT NOT NULL,            -- JSON
  apps   TEXT NOT NULL,            -- JSON
  until  BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS deliveries (
  webhook_no  BIGINT NOT NULL,
  id          BINARY(16) NOT NULL, -- ULID
  event_no    BIGINT NOT NULL,
  state       SMALLINT NOT NULL,   -- 1 pending 2 delivered 3 failed
  attempts    SMALLINT NOT NULL,
  next_at     BIGINT NOT NULL,     -- while somebody posts it: when it is taken for lost
  http_status SMALLINT NOT NULL DEFAULT 0,
  error       VARCHAR(1024) NOT NULL DEFAULT '',
  response    VARCHAR(1024) NOT NULL DEFAULT '',
  created_at  BIGINT NOT NULL,
  updated_at  BIGINT NOT NULL,
  -- Null where a row does not count, as in messages.
  due_webhook BIGINT AS (CASE WHEN state = 1 THEN webhook_no END) VIRTUAL,
  PRIMARY KEY (webhook_no, id),
  INDEX deliveries_due (due_webhook, next_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
