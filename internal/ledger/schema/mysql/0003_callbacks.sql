-- +goose Up
-- WeChat's event pushes (消息推送).
-- A change of the schema cannot be rolled back here: IF NOT EXISTS lets a broken one run again.

CREATE TABLE IF NOT EXISTS callback_keys (
  app_no         BIGINT PRIMARY KEY,
  token          BLOB NOT NULL,     -- sealed
  aes_key        BLOB,              -- sealed; NULL: plain pushes only
  previous_key   BLOB,              -- sealed; fits until previous_until
  previous_until BIGINT NOT NULL,
  forward_to     VARCHAR(1024) NOT NULL,
  verified_at    BIGINT NOT NULL,
  updated_at     BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- As they came. A repeat finds its mark and changes nothing.
CREATE TABLE IF NOT EXISTS callbacks (
  id           BINARY(16) PRIMARY KEY,   -- ULID
  app_no       BIGINT NOT NULL,
  mark         BINARY(16) NOT NULL,      -- of the event, its user, time and items
  event        VARCHAR(128) NOT NULL,
  openid       VARCHAR(128) NOT NULL,
  encrypted    SMALLINT NOT NULL,
  items        MEDIUMTEXT NOT NULL,       -- JSON
  raw          MEDIUMBLOB NOT NULL,
  sent_at      BIGINT NOT NULL,
  received_at  BIGINT NOT NULL,
  due_at       BIGINT,              -- when it is applied; NULL: it has been
  tries        SMALLINT NOT NULL,
  notes        MEDIUMTEXT NOT NULL,       -- JSON
  processed_at BIGINT NOT NULL,
  UNIQUE (app_no, mark),
  INDEX callbacks_waiting (due_at),
  INDEX callbacks_list (app_no, id),
  INDEX callbacks_user (openid, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Uncertain messages that an event resolved though nothing named them: an answer that
-- brings its msgid later belongs to another one.
CREATE TABLE IF NOT EXISTS evidence (
  app_no      BIGINT NOT NULL,
  msgid       BIGINT NOT NULL,
  seq         BIGINT NOT NULL,
  callback_id BINARY(16) NOT NULL,
  recorded_at BIGINT NOT NULL,
  PRIMARY KEY (app_no, msgid),
  INDEX evidence_age (recorded_at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Calls of the callback URL that were refused: the last hundred of each app.
CREATE TABLE IF NOT EXISTS callback_rejections (
  id     BINARY(16) PRIMARY KEY,         -- ULID
  app_no BIGINT NOT NULL,
  at     BIGINT NOT NULL,
  reason VARCHAR(128) NOT NULL,
  detail MEDIUMTEXT NOT NULL,
  remote VARCHAR(128) NOT NULL,
  INDEX callback_rejections_list (app_no, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What a scene of the mini program asks for, and how many grants are wanted in stock.
CREATE TABLE IF NOT EXISTS scenes (
  app_no     BIGINT NOT NULL,
  name       VARCHAR(64) NOT NULL,
  templates  MEDIUMTEXT NOT NULL,         -- JSON
  updated_at BIGINT NOT NULL,
  PRIMARY KEY (app_no, name)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Phones that have logged in. The token itself is not kept.
CREATE TABLE IF NOT EXISTS mp_sessions (
  hash       BINARY(32) PRIMARY KEY,   -- SHA-256 of the token
  app_no     BIGINT NOT NULL,
  user_no    BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  INDEX mp_sessions_age (expires_at),
  INDEX mp_sessions_user (user_no)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Users who are to be forgotten, until nothing of theirs is left.
CREATE TABLE IF NOT EXISTS erasures (
  user_no  BIGINT PRIMARY KEY,
  app_no   BIGINT NOT NULL,
  openid   VARCHAR(128) NOT NULL,
  since    BIGINT NOT NULL,
  next_at  BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
