-- +goose Up
-- A change of the schema cannot be rolled back here: IF NOT EXISTS lets a broken one run again.
-- Times are UTC unix milliseconds. Keys called no and seq are integers handed out by sequences.

CREATE TABLE IF NOT EXISTS meta (
  name  VARCHAR(64) PRIMARY KEY,
  value BLOB NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS sequences (
  name VARCHAR(64) PRIMARY KEY,
  next BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS apps (
  no         BIGINT PRIMARY KEY,
  appid      VARCHAR(64) NOT NULL UNIQUE,
  name       VARCHAR(512) NOT NULL,
  secret     BLOB,                 -- sealed
  token_secret BLOB,               -- sealed; for the service at token_url
  settings   TEXT NOT NULL,        -- JSON
  created_at BIGINT NOT NULL,
  updated_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS pauses (
  app_no   BIGINT NOT NULL,
  scope    VARCHAR(16) NOT NULL,          -- app, template, path
  target   VARCHAR(255) NOT NULL,          -- template_id or API path, empty for an app
  reason   VARCHAR(64) NOT NULL,
  errcode  INT NOT NULL,
  detail   TEXT NOT NULL,
  since    BIGINT NOT NULL,
  probe_at BIGINT NOT NULL,       -- 0: only a person ends it
  probes   SMALLINT NOT NULL,
  PRIMARY KEY (app_no, scope, target)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS access_tokens (
  app_no      BIGINT PRIMARY KEY,
  token       BLOB,                -- sealed
  fetched_at  BIGINT NOT NULL,
  expires_at  BIGINT NOT NULL,
  lease_owner BIGINT NOT NULL,    -- who is fetching
  lease_until BIGINT NOT NULL,
  forced_at   BIGINT NOT NULL,     -- the last forced refresh
  failure     MEDIUMTEXT NOT NULL  -- JSON of the last fetch that failed, or empty
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Tokens that WeChat refused before their time: the last twenty of each app.
CREATE TABLE IF NOT EXISTS token_deaths (
  id         BINARY(16) PRIMARY KEY, -- ULID
  app_no     BIGINT NOT NULL,
  mark       BINARY(16) NOT NULL,  -- of the token
  fetched_at BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  refused_at BIGINT NOT NULL,
  times      BIGINT NOT NULL,      -- the same token was refused
  errcode    BIGINT NOT NULL,
  told_by    VARCHAR(128) NOT NULL, -- API path or id of an API key
  rid        VARCHAR(128) NOT NULL,
  reason     VARCHAR(128) NOT NULL,
  INDEX token_deaths_list (app_no, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS templates (
  no          BIGINT PRIMARY KEY,
  app_no      BIGINT NOT NULL,
  template_id VARCHAR(128) NOT NULL,
  alias       VARCHAR(64),
  title       TEXT NOT NULL,
  kind        SMALLINT NOT NULL,    -- 0 unknown, 2 one-time, 3 long-term
  content     MEDIUMTEXT NOT NULL,
  example     TEXT NOT NULL,
  enums       MEDIUMTEXT NOT NULL,       -- JSON
  stale       SMALLINT NOT NULL,
  gone_at     BIGINT NOT NULL,    -- 0: WeChat still lists it
  synced_at   BIGINT NOT NULL,
  UNIQUE (app_no, template_id),
  UNIQUE (app_no, alias)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS users (
  no             BIGINT PRIMARY KEY,
  app_no         BIGINT NOT NULL,
  openid         VARCHAR(64) NOT NULL,
  unionid        VARCHAR(128) NOT NULL DEFAULT '',
  external_id    VARCHAR(128),
  session_key    BLOB,             -- sealed
  invalid_at     BIGINT NOT NULL DEFAULT 0,
  first_login_at BIGINT NOT NULL DEFAULT 0,
  last_login_at  BIGINT NOT NULL DEFAULT 0,
  created_at     BIGINT NOT NULL,
  UNIQUE (openid, app_no),
  UNIQUE (external_id, app_no)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Narrow on purpose: every submit that reserves writes one of these pages.
CREATE TABLE IF NOT EXISTS grants (
  user_no     BIGINT NOT NULL,
  template_no BIGINT NOT NULL,
  exact       SMALLINT NOT NULL,
  standing    SMALLINT NOT NULL,
  available   INT NOT NULL,
  taken       INT NOT NULL,
  voided      INT NOT NULL,
  zero_at     BIGINT NOT NULL,    -- WeChat had none then: begin of the latest attempt answered 43101 (or a reject, where the app voids on it)
  updated_at  BIGINT NOT NULL,
  PRIMARY KEY (user_no, template_no)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS grant_entries (
  user_no     BIGINT NOT NULL,
  template_no BIGINT NOT NULL,
  at          BIGINT NOT NULL,
  id          BINARY(16) NOT NULL, -- ULID
  source      VARCHAR(32) NOT NULL,
  granted     INT NOT NULL,
  voided      INT NOT NULL,
  choice      VARCHAR(32) NOT NULL,
  ref         VARCHAR(512) NOT NULL,
  open        SMALLINT NOT NULL,    -- an inferred grant that no witness has matched yet
  matched_at  BIGINT NOT NULL DEFAULT 0, -- of an inferred one: the tap that it turned out to be
  recorded_at BIGINT NOT NULL,
  spent       INT NOT NULL DEFAULT 0, -- by messages of the month that retention has deleted since
  PRIMARY KEY (user_no, template_no, at, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What told us of a tap. A repeat finds its row and changes nothing.
CREATE TABLE IF NOT EXISTS witnesses (
  app_no      BIGINT NOT NULL,
  source      VARCHAR(16) NOT NULL,
  ref         VARCHAR(64) NOT NULL,
  user_no     BIGINT NOT NULL,
  template_no BIGINT NOT NULL,
  at          BIGINT NOT NULL,    -- the tap
  choice      VARCHAR(32) NOT NULL,
  silent      SMALLINT,             -- NULL: not known
  pairs       SMALLINT NOT NULL,    -- 1: a report and an event may be of the same tap
  first       SMALLINT NOT NULL,    -- 1: the first that told of its tap
  recorded_at BIGINT NOT NULL,
  PRIMARY KEY (app_no, source, ref),
  INDEX witnesses_age (recorded_at),
  INDEX witnesses_user (user_no, template_no, at)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The message row is the job (docs/decisions/0001). It holds the latest attempt;
-- earlier ones move to attempts when the next begins.
CREATE TABLE IF NOT EXISTS messages (
  seq         BIGINT PRIMARY KEY,
  id          BINARY(16) NOT NULL, -- ULID
  app_no      BIGINT NOT NULL,
  template_no BIGINT NOT NULL,
  user_no     BIGINT NOT NULL,
  state       SMALLINT NOT NULL,    -- 1 held 2 scheduled 3 queued 4 sending 5 accepted 6 delivered 7 undelivered 8 failed 9 uncertain 10 canceled 11 expired
  reason      VARCHAR(64) NOT NULL DEFAULT '',
  priority    SMALLINT NOT NULL,    -- 0 high 1 normal 2 low
  due_at      BIGINT NOT NULL,
  expires_at  BIGINT NOT NULL,
  reserved    SMALLINT NOT NULL,
  busy        SMALLINT NOT NULL DEFAULT 0,
  same_user   SMALLINT NOT NULL DEFAULT 0,
  unsent      SMALLINT NOT NULL DEFAULT 0,
  flags       SMALLINT NOT NULL,    -- 1 an earlier attempt was unclear, 2 held once, 4 sent again, 8 not yet admitted (reserve: send), 16 its grant was given up
  attempt     SMALLINT NOT NULL,
  owner       BIGINT NOT NULL,
  lease_until BIGINT NOT NULL,
  class       VARCHAR(32),                -- of the latest attempt, once it has ended
  errcode     INT,
  errmsg      TEXT,
  msgid       BIGINT,
  started_at  BIGINT NOT NULL,
  ended_at    BIGINT NOT NULL DEFAULT 0,
  resend_at   BIGINT,
  data        MEDIUMTEXT NOT NULL,       -- JSON
  options     MEDIUMTEXT NOT NULL,       -- JSON
  created_at  BIGINT NOT NULL,
  updated_at  BIGINT NOT NULL,
  -- MySQL has no partial indexes: these are null where a row does not count.
  due_template BIGINT AS (CASE WHEN state IN (2, 3) THEN template_no END) VIRTUAL,
  ends_at      BIGINT AS (CASE WHEN state IN (1, 2, 3) THEN expires_at END) VIRTUAL,
  live_user    BIGINT AS (CASE WHEN state IN (1, 2, 3, 4, 9) THEN user_no END) VIRTUAL,
  leased_until BIGINT AS (CASE WHEN state = 4 THEN lease_until END) VIRTUAL,
  rest_state   SMALLINT AS (CASE WHEN state NOT IN (4, 5, 6) THEN state END) VIRTUAL,
  UNIQUE INDEX messages_id (id),
  -- By template, so that the backlog of a paused one is never read; with the user, so that
  -- rows of busy users are passed over without being read.
  INDEX messages_due (due_template, priority, due_at, seq, user_no),
  INDEX messages_expiry (ends_at),
  INDEX messages_live (live_user, template_no),
  INDEX messages_leased (leased_until),
  INDEX messages_resend (resend_at),
  INDEX messages_rest (rest_state, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS attempts (
  seq        BIGINT NOT NULL,
  attempt    SMALLINT NOT NULL,
  class      VARCHAR(32) NOT NULL,
  errcode    INT,
  errmsg     TEXT,
  msgid      BIGINT,
  started_at BIGINT NOT NULL,
  ended_at   BIGINT NOT NULL,
  PRIMARY KEY (seq, attempt)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- A user's messages. Filled in sorted batches behind a watermark, because an index
-- over all messages by user would cost more than everything else at submit.
CREATE TABLE IF NOT EXISTS user_messages (
  user_no BIGINT NOT NULL,
  id      BINARY(16) NOT NULL,
  PRIMARY KEY (user_no, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Messages that retention walked past because their time had not come: they are looked at again.
CREATE TABLE IF NOT EXISTS leftovers (
  id BINARY(16) PRIMARY KEY -- of the message, ULID
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS dedup_keys (
  app_no     BIGINT NOT NULL,
  dedup_key  VARCHAR(128) NOT NULL,
  seq        BIGINT NOT NULL,
  until      BIGINT NOT NULL,
  PRIMARY KEY (app_no, dedup_key),
  INDEX dedup_keys_until (until)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS idempotency_keys (
  owner      VARCHAR(64) NOT NULL,
  route      VARCHAR(255) NOT NULL,
  idem_key   VARCHAR(255) NOT NULL,
  hash       BINARY(32) NOT NULL,
  status     BIGINT NOT NULL,
  resource   MEDIUMTEXT NOT NULL,
  until      BIGINT NOT NULL,
  PRIMARY KEY (owner, route, idem_key),
  INDEX idempotency_keys_until (until)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

CREATE TABLE IF NOT EXISTS api_keys (
  id         VARCHAR(64) PRIMARY KEY,
  hash       BINARY(32) NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  scopes     TEXT NOT NULL,        -- JSON
  apps       TEXT NOT NULL,        -- JSON
  created_at BIGINT NOT NULL,
  revoked_at BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- The processes that work on this database, as they last said.
CREATE TABLE IF NOT EXISTS replicas (
  owner   BIGINT PRIMARY KEY,
  name    VARCHAR(255) NOT NULL,
  seen_at BIGINT NOT NULL,
  skew_ms BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
