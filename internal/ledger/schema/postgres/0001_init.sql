-- +goose Up
-- Times are UTC unix milliseconds. Keys called no and seq are integers handed out by sequences.

CREATE TABLE meta (
  name  text PRIMARY KEY,
  value bytea NOT NULL
);

CREATE TABLE sequences (
  name text PRIMARY KEY,
  next bigint NOT NULL
);

CREATE TABLE apps (
  no         bigint PRIMARY KEY,
  appid      text NOT NULL UNIQUE,
  name       text NOT NULL,
  secret     bytea,                 -- sealed
  token_secret bytea,              -- sealed; for the service at token_url
  settings   text NOT NULL,        -- JSON
  created_at bigint NOT NULL,
  updated_at bigint NOT NULL
);

CREATE TABLE pauses (
  app_no   bigint NOT NULL,
  scope    text NOT NULL,          -- app, template, path
  target   text NOT NULL,          -- template_id or API path, empty for an app
  reason   text NOT NULL,
  errcode  integer NOT NULL,
  detail   text NOT NULL,
  since    bigint NOT NULL,
  probe_at bigint NOT NULL,       -- 0: only a person ends it
  probes   smallint NOT NULL,
  PRIMARY KEY (app_no, scope, target)
);

CREATE TABLE access_tokens (
  app_no      bigint PRIMARY KEY,
  token       bytea,                -- sealed
  fetched_at  bigint NOT NULL,
  expires_at  bigint NOT NULL,
  lease_owner bigint NOT NULL,    -- who is fetching
  lease_until bigint NOT NULL,
  forced_at   bigint NOT NULL,     -- the last forced refresh
  failure     text NOT NULL        -- JSON of the last fetch that failed, or empty
);

-- Tokens that WeChat refused before their time: the last twenty of each app.
CREATE TABLE token_deaths (
  id         bytea PRIMARY KEY,    -- ULID
  app_no     bigint NOT NULL,
  mark       bytea NOT NULL,       -- of the token
  fetched_at bigint NOT NULL,
  expires_at bigint NOT NULL,
  refused_at bigint NOT NULL,
  times      bigint NOT NULL,      -- the same token was refused
  errcode    bigint NOT NULL,
  told_by    text NOT NULL,        -- API path or id of an API key
  rid        text NOT NULL,
  reason     text NOT NULL
);
CREATE INDEX token_deaths_list ON token_deaths (app_no, id);

CREATE TABLE templates (
  no          bigint PRIMARY KEY,
  app_no      bigint NOT NULL,
  template_id text NOT NULL,
  alias       text,
  title       text NOT NULL,
  kind        smallint NOT NULL,    -- 0 unknown, 2 one-time, 3 long-term
  content     text NOT NULL,
  example     text NOT NULL,
  enums       text NOT NULL,       -- JSON
  stale       smallint NOT NULL,
  gone_at     bigint NOT NULL,    -- 0: WeChat still lists it
  synced_at   bigint NOT NULL,
  UNIQUE (app_no, template_id),
  UNIQUE (app_no, alias)
);

CREATE TABLE users (
  no             bigint PRIMARY KEY,
  app_no         bigint NOT NULL,
  openid         text COLLATE "C" NOT NULL, -- by bytes, so that the index finds what begins alike
  unionid        text NOT NULL DEFAULT '',
  external_id    text COLLATE "C",
  session_key    bytea,             -- sealed
  invalid_at     bigint NOT NULL DEFAULT 0,
  first_login_at bigint NOT NULL DEFAULT 0,
  last_login_at  bigint NOT NULL DEFAULT 0,
  created_at     bigint NOT NULL,
  UNIQUE (openid, app_no) -- the column that tells first: a plan by the other alone would read all users
);
-- Of those who have one.
CREATE UNIQUE INDEX users_external ON users (external_id, app_no) WHERE external_id IS NOT NULL;

-- Narrow on purpose: every submit that reserves writes one of these pages.
CREATE TABLE grants (
  user_no     bigint NOT NULL,
  template_no bigint NOT NULL,
  exact       smallint NOT NULL,
  standing    smallint NOT NULL,
  available   integer NOT NULL,
  taken       integer NOT NULL,
  voided      integer NOT NULL,
  zero_at     bigint NOT NULL,    -- WeChat had none then: begin of the latest attempt answered 43101 (or a reject, where the app voids on it)
  updated_at  bigint NOT NULL,
  PRIMARY KEY (user_no, template_no)
);

CREATE TABLE grant_entries (
  user_no     bigint NOT NULL,
  template_no bigint NOT NULL,
  at          bigint NOT NULL,
  id          bytea NOT NULL,      -- ULID
  source      text NOT NULL,
  granted     integer NOT NULL,
  voided      integer NOT NULL,
  choice      text NOT NULL,
  ref         text NOT NULL,
  open        smallint NOT NULL,    -- an inferred grant that no witness has matched yet
  matched_at  bigint NOT NULL DEFAULT 0, -- of an inferred one: the tap that it turned out to be
  recorded_at bigint NOT NULL,
  spent       integer NOT NULL DEFAULT 0, -- by messages of the month that retention has deleted since
  PRIMARY KEY (user_no, template_no, at, id)
);

-- What told us of a tap. A repeat finds its row and changes nothing.
CREATE TABLE witnesses (
  app_no      bigint NOT NULL,
  source      text NOT NULL,
  ref         text NOT NULL,
  user_no     bigint NOT NULL,
  template_no bigint NOT NULL,
  at          bigint NOT NULL,    -- the tap
  choice      text NOT NULL,
  silent      smallint,             -- NULL: not known
  pairs       smallint NOT NULL,    -- 1: a report and an event may be of the same tap
  first       smallint NOT NULL,    -- 1: the first that told of its tap
  recorded_at bigint NOT NULL,
  PRIMARY KEY (app_no, source, ref)
);
CREATE INDEX witnesses_age ON witnesses (recorded_at);
CREATE INDEX witnesses_user ON witnesses (user_no, template_no, at);

-- The message row is the job (docs/decisions/0001). It holds the latest attempt;
-- earlier ones move to attempts when the next begins.
CREATE TABLE messages (
  seq         bigint PRIMARY KEY,
  id          bytea NOT NULL,      -- ULID
  app_no      bigint NOT NULL,
  template_no bigint NOT NULL,
  user_no     bigint NOT NULL,
  state       smallint NOT NULL,    -- 1 held 2 scheduled 3 queued 4 sending 5 accepted 6 delivered 7 undelivered 8 failed 9 uncertain 10 canceled 11 expired
  reason      text NOT NULL DEFAULT '',
  priority    smallint NOT NULL,    -- 0 high 1 normal 2 low
  due_at      bigint NOT NULL,
  expires_at  bigint NOT NULL,
  reserved    smallint NOT NULL,
  busy        smallint NOT NULL DEFAULT 0,
  same_user   smallint NOT NULL DEFAULT 0,
  unsent      smallint NOT NULL DEFAULT 0,
  flags       smallint NOT NULL,    -- 1 an earlier attempt was unclear, 2 held once, 4 sent again, 8 not yet admitted (reserve: send), 16 its grant was given up
  attempt     smallint NOT NULL,
  owner       bigint NOT NULL,
  lease_until bigint NOT NULL,
  class       text,                -- of the latest attempt, once it has ended
  errcode     integer,
  errmsg      text,
  msgid       bigint,
  started_at  bigint NOT NULL,
  ended_at    bigint NOT NULL DEFAULT 0,
  resend_at   bigint,
  data        text NOT NULL,       -- JSON
  options     text NOT NULL,       -- JSON
  created_at  bigint NOT NULL,
  updated_at  bigint NOT NULL
);
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
  seq        bigint NOT NULL,
  attempt    smallint NOT NULL,
  class      text NOT NULL,
  errcode    integer,
  errmsg     text,
  msgid      bigint,
  started_at bigint NOT NULL,
  ended_at   bigint NOT NULL,
  PRIMARY KEY (seq, attempt)
);

-- A user's messages. Filled in sorted batches behind a watermark, because an index
-- over all messages by user would cost more than everything else at submit.
CREATE TABLE user_messages (
  user_no bigint NOT NULL,
  id      bytea NOT NULL,
  PRIMARY KEY (user_no, id)
);

-- Messages that retention walked past because their time had not come: they are looked at again.
CREATE TABLE leftovers (
  id bytea PRIMARY KEY -- of the message, ULID
);

CREATE TABLE dedup_keys (
  app_no     bigint NOT NULL,
  dedup_key  text NOT NULL,
  seq        bigint NOT NULL,
  until      bigint NOT NULL,
  PRIMARY KEY (app_no, dedup_key)
);
CREATE INDEX dedup_keys_until ON dedup_keys (until);

CREATE TABLE idempotency_keys (
  owner      text NOT NULL,
  route      text NOT NULL,
  idem_key   text NOT NULL,
  hash       bytea NOT NULL,
  status     bigint NOT NULL,
  resource   text NOT NULL,
  until      bigint NOT NULL,
  PRIMARY KEY (owner, route, idem_key)
);
CREATE INDEX idempotency_keys_until ON idempotency_keys (until);

CREATE TABLE api_keys (
  id         text PRIMARY KEY,
  hash       bytea NOT NULL UNIQUE,
  name       text NOT NULL,
  scopes     text NOT NULL,        -- JSON
  apps       text NOT NULL,        -- JSON
  created_at bigint NOT NULL,
  revoked_at bigint NOT NULL
);

-- The processes that work on this database, as they last said.
CREATE TABLE replicas (
  owner   bigint PRIMARY KEY,
  name    text NOT NULL,
  seen_at bigint NOT NULL,
  skew_ms bigint NOT NULL
);
