-- +goose Up
-- Times are UTC unix milliseconds. Keys called no and seq are integers handed out by sequences.

CREATE TABLE meta (
  name  TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE sequences (
  name TEXT PRIMARY KEY,
  next INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE apps (
  no         INTEGER PRIMARY KEY,
  appid      TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  secret     BLOB,                 -- sealed
  token_secret BLOB,               -- sealed; for the service at token_url
  settings   TEXT NOT NULL,        -- JSON
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
);

CREATE TABLE pauses (
  app_no   INTEGER NOT NULL,
  scope    TEXT NOT NULL,          -- app, template, path
  target   TEXT NOT NULL,          -- template_id or API path, empty for an app
  reason   TEXT NOT NULL,
  errcode  INTEGER NOT NULL,
  detail   TEXT NOT NULL,
  since    INTEGER NOT NULL,
  probe_at INTEGER NOT NULL,       -- 0: only a person ends it
  probes   INTEGER NOT NULL,
  PRIMARY KEY (app_no, scope, target)
) WITHOUT ROWID;

CREATE TABLE access_tokens (
  app_no      INTEGER PRIMARY KEY,
  token       BLOB,                -- sealed
  fetched_at  INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  lease_owner INTEGER NOT NULL,    -- who is fetching
  lease_until INTEGER NOT NULL,
  forced_at   INTEGER NOT NULL,    -- the last forced refresh
  failure     TEXT NOT NULL        -- JSON of the last fetch that failed, or empty
);

-- Tokens that WeChat refused before their time: the last twenty of each app.
CREATE TABLE token_deaths (
  id         BLOB PRIMARY KEY,     -- ULID
  app_no     INTEGER NOT NULL,
  mark       BLOB NOT NULL,        -- of the token
  fetched_at INTEGER NOT NULL,
  expires_at INTEGER NOT NULL,
  refused_at INTEGER NOT NULL,
  times      INTEGER NOT NULL,     -- the same token was refused
  errcode    INTEGER NOT NULL,
  told_by    TEXT NOT NULL,        -- API path or id of an API key
  rid        TEXT NOT NULL,
  reason     TEXT NOT NULL
);
CREATE INDEX token_deaths_list ON token_deaths (app_no, id);

CREATE TABLE templates (
  no          INTEGER PRIMARY KEY,
  app_no      INTEGER NOT NULL,
  template_id TEXT NOT NULL,
  alias       TEXT,
  title       TEXT NOT NULL,
  kind        INTEGER NOT NULL,    -- 0 unknown, 2 one-time, 3 long-term
  content     TEXT NOT NULL,
  example     TEXT NOT NULL,
  enums       TEXT NOT NULL,       -- JSON
  stale       INTEGER NOT NULL,
  gone_at     INTEGER NOT NULL,    -- 0: WeChat still lists it
  synced_at   INTEGER NOT NULL,
  UNIQUE (app_no, template_id),
  UNIQUE (app_no, alias)
);

CREATE TABLE users (
  no             INTEGER PRIMARY KEY,
  app_no         INTEGER NOT NULL,
  openid         TEXT NOT NULL,
  unionid        TEXT NOT NULL DEFAULT '',
  external_id    TEXT,
  session_key    BLOB,             -- sealed
  invalid_at     INTEGER NOT NULL DEFAULT 0,
  first_login_at INTEGER NOT NULL DEFAULT 0,
  last_login_at  INTEGER NOT NULL DEFAULT 0,
  created_at     INTEGER NOT NULL,
  UNIQUE (openid, app_no) -- the column that tells first: a plan by the other alone would read all users
);
-- Of those who have one.
CREATE UNIQUE INDEX users_external ON users (external_id, app_no) WHERE external_id IS NOT NULL;

-- Narrow on purpose. A count is this row less what messages younger than folded hold.
CREATE TABLE grants (
  user_no     INTEGER NOT NULL,
  template_no INTEGER NOT NULL,
  exact       INTEGER NOT NULL,
  standing    INTEGER NOT NULL,
  available   INTEGER NOT NULL,
  taken       INTEGER NOT NULL,
  voided      INTEGER NOT NULL,
  zero_at     INTEGER NOT NULL,    -- WeChat had none then: begin of the latest attempt answered 43101 (or a reject, where the app voids on it)
  updated_at  INTEGER NOT NULL,
  folded      INTEGER NOT NULL DEFAULT 0, -- greatest seq of a message when the row was written
  PRIMARY KEY (user_no, template_no)
) WITHOUT ROWID;

CREATE TABLE grant_entries (
  user_no     INTEGER NOT NULL,
  template_no INTEGER NOT NULL,
  at          INTEGER NOT NULL,
  id          BLOB NOT NULL,       -- ULID
  source      TEXT NOT NULL,
  granted     INTEGER NOT NULL,
  voided      INTEGER NOT NULL,
  choice      TEXT NOT NULL,
  ref         TEXT NOT NULL,
  open        INTEGER NOT NULL,    -- an inferred grant that no witness has matched yet
  matched_at  INTEGER NOT NULL DEFAULT 0, -- of an inferred one: the tap that it turned out to be
  recorded_at INTEGER NOT NULL,
  spent       INTEGER NOT NULL DEFAULT 0, -- by messages of the month that retention has deleted since
  PRIMARY KEY (user_no, template_no, at, id)
) WITHOUT ROWID;

-- What told us of a tap. A repeat finds its row and changes nothing.
CREATE TABLE witnesses (
  app_no      INTEGER NOT NULL,
  source      TEXT NOT NULL,
  ref         TEXT NOT NULL,
  user_no     INTEGER NOT NULL,
  template_no INTEGER NOT NULL,
  at          INTEGER NOT NULL,    -- the tap
  choice      TEXT NOT NULL,
  silent      INTEGER,             -- NULL: not known
  pairs       INTEGER NOT NULL,    -- 1: a report and an event may be of the same tap
  first       INTEGER NOT NULL,    -- 1: the first that told of its tap
  recorded_at INTEGER NOT NULL,
  PRIMARY KEY (app_no, source, ref)
) WITHOUT ROWID;
CREATE INDEX witnesses_age ON witnesses (recorded_at);
CREATE INDEX witnesses_user ON witnesses (user_no, template_no, at);

-- The message row is the job (docs/decisions/0001). It holds the latest attempt;
-- earlier ones move to attempts when the next begins.
CREATE TABLE messages (
  seq         INTEGER PRIMARY KEY,
  id          BLOB NOT NULL,       -- ULID
  app_no      INTEGER NOT NULL,
  template_no INTEGER NOT NULL,
  user_no     INTEGER NOT NULL,
  state       INTEGER NOT NULL,    -- 1 held 2 scheduled 3 queued 4 sending 5 accepted 6 delivered 7 undelivered 8 failed 9 uncertain 10 canceled 11 expired
  reason      TEXT NOT NULL DEFAULT '',
  priority    INTEGER NOT NULL,    -- 0 high 1 normal 2 low
  due_at      INTEGER NOT NULL,
  expires_at  INTEGER NOT NULL,
  reserved    INTEGER NOT NULL,
  busy        INTEGER NOT NULL DEFAULT 0,
  same_user   INTEGER NOT NULL DEFAULT 0,
  unsent      INTEGER NOT NULL DEFAULT 0,
  flags       INTEGER NOT NULL,    -- 1 an earlier attempt was unclear, 2 held once, 4 sent again, 8 not yet admitted (reserve: send), 16 its grant was given up
  attempt     INTEGER NOT NULL,
  owner       INTEGER NOT NULL,
  lease_until INTEGER NOT NULL,
  class       TEXT,                -- of the latest attempt, once it has ended
  errcode     INTEGER,
  errmsg      TEXT,
  msgid       INTEGER,
  started_at  INTEGER NOT NULL,
  ended_at    INTEGER NOT NULL DEFAULT 0,
  resend_at   INTEGER,
  data        TEXT NOT NULL,       -- JSON
  options     TEXT NOT NULL,       -- JSON
  created_at  INTEGER NOT NULL,
  updated_at  INTEGER NOT NULL
);
-- Conditions are written without lists of three and more: SQLite makes a table of each list for
-- every row it writes.
CREATE UNIQUE INDEX messages_id ON messages (id);
-- By template, so that the backlog of a paused one is never read; with the user, so that
-- rows of busy users are passed over without being read.
CREATE INDEX messages_due ON messages (template_no, priority, due_at, seq, user_no, state) WHERE state IN (2, 3);
CREATE INDEX messages_expiry ON messages (expires_at) WHERE state < 4;
CREATE INDEX messages_live ON messages (user_no, template_no) WHERE state < 4 OR state = 9;
-- Apart, because every message comes here and goes: this one stays as small as what is under way.
CREATE INDEX messages_sending ON messages (user_no, template_no, lease_until) WHERE state = 4;
CREATE INDEX messages_resend ON messages (resend_at) WHERE resend_at IS NOT NULL;
CREATE INDEX messages_rest ON messages (state, id) WHERE state NOT BETWEEN 4 AND 6;

CREATE TABLE attempts (
  seq        INTEGER NOT NULL,
  attempt    INTEGER NOT NULL,
  class      TEXT NOT NULL,
  errcode    INTEGER,
  errmsg     TEXT,
  msgid      INTEGER,
  started_at INTEGER NOT NULL,
  ended_at   INTEGER NOT NULL,
  PRIMARY KEY (seq, attempt)
) WITHOUT ROWID;

-- A user's messages. Filled in sorted batches behind a watermark, because an index
-- over all messages by user would cost more than everything else at submit.
CREATE TABLE user_messages (
  user_no INTEGER NOT NULL,
  id      BLOB NOT NULL,
  PRIMARY KEY (user_no, id)
) WITHOUT ROWID;

-- Messages that retention walked past because their time had not come: they are looked at again.
CREATE TABLE leftovers (
  id BLOB PRIMARY KEY -- of the message, ULID
) WITHOUT ROWID;

CREATE TABLE dedup_keys (
  app_no     INTEGER NOT NULL,
  dedup_key  TEXT NOT NULL,
  seq        INTEGER NOT NULL,
  until      INTEGER NOT NULL,
  PRIMARY KEY (app_no, dedup_key)
) WITHOUT ROWID;
CREATE INDEX dedup_keys_until ON dedup_keys (until);

CREATE TABLE idempotency_keys (
  owner      TEXT NOT NULL,
  route      TEXT NOT NULL,
  idem_key   TEXT NOT NULL,
  hash       BLOB NOT NULL,
  status     INTEGER NOT NULL,
  resource   TEXT NOT NULL,
  until      INTEGER NOT NULL,
  PRIMARY KEY (owner, route, idem_key)
) WITHOUT ROWID;
CREATE INDEX idempotency_keys_until ON idempotency_keys (until);

CREATE TABLE api_keys (
  id         TEXT PRIMARY KEY,
  hash       BLOB NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  scopes     TEXT NOT NULL,        -- JSON
  apps       TEXT NOT NULL,        -- JSON
  created_at INTEGER NOT NULL,
  revoked_at INTEGER NOT NULL
) WITHOUT ROWID;

-- The processes that work on this database, as they last said.
CREATE TABLE replicas (
  owner   INTEGER PRIMARY KEY,
  name    TEXT NOT NULL,
  seen_at INTEGER NOT NULL,
  skew_ms INTEGER NOT NULL
);
