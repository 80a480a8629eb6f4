-- +goose Up
-- WeChat's event pushes (消息推送).

CREATE TABLE callback_keys (
  app_no         INTEGER PRIMARY KEY,
  token          BLOB NOT NULL,     -- sealed
  aes_key        BLOB,              -- sealed; NULL: plain pushes only
  previous_key   BLOB,              -- sealed; fits until previous_until
  previous_until INTEGER NOT NULL,
  forward_to     TEXT NOT NULL,
  verified_at    INTEGER NOT NULL,
  updated_at     INTEGER NOT NULL
);

-- As they came. A repeat finds its mark and changes nothing.
CREATE TABLE callbacks (
  id           BLOB PRIMARY KEY,   -- ULID
  app_no       INTEGER NOT NULL,
  mark         BLOB NOT NULL,      -- of the event, its user, time and items
  event        TEXT NOT NULL,
  openid       TEXT NOT NULL,
  encrypted    INTEGER NOT NULL,
  items        TEXT NOT NULL,       -- JSON
  raw          BLOB NOT NULL,
  sent_at      INTEGER NOT NULL,
  received_at  INTEGER NOT NULL,
  due_at       INTEGER,              -- when it is applied; NULL: it has been
  tries        INTEGER NOT NULL,
  notes        TEXT NOT NULL,       -- JSON
  processed_at INTEGER NOT NULL,
  UNIQUE (app_no, mark)
);
CREATE INDEX callbacks_waiting ON callbacks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX callbacks_list ON callbacks (app_no, id);
CREATE INDEX callbacks_user ON callbacks (openid, id);

-- Uncertain messages that an event resolved though nothing named them: an answer that
-- brings its msgid later belongs to another one.
CREATE TABLE evidence (
  app_no      INTEGER NOT NULL,
  msgid       INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  callback_id BLOB NOT NULL,
  recorded_at INTEGER NOT NULL,
  PRIMARY KEY (app_no, msgid)
) WITHOUT ROWID;
CREATE INDEX evidence_age ON evidence (recorded_at);

-- Calls of the callback URL that were refused: the last hundred of each app.
CREATE TABLE callback_rejections (
  id     BLOB PRIMARY KEY,         -- ULID
  app_no INTEGER NOT NULL,
  at     INTEGER NOT NULL,
  reason TEXT NOT NULL,
  detail TEXT NOT NULL,
  remote TEXT NOT NULL
);
CREATE INDEX callback_rejections_list ON callback_rejections (app_no, id);

-- What a scene of the mini program asks for, and how many grants are wanted in stock.
CREATE TABLE scenes (
  app_no     INTEGER NOT NULL,
  name       TEXT NOT NULL,
  templates  TEXT NOT NULL,         -- JSON
  updated_at INTEGER NOT NULL,
  PRIMARY KEY (app_no, name)
) WITHOUT ROWID;

-- Phones that have logged in. The token itself is not kept.
CREATE TABLE mp_sessions (
  hash       BLOB PRIMARY KEY,   -- SHA-256 of the token
  app_no     INTEGER NOT NULL,
  user_no    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX mp_sessions_age ON mp_sessions (expires_at);
CREATE INDEX mp_sessions_user ON mp_sessions (user_no);

-- Users who are to be forgotten, until nothing of theirs is left.
CREATE TABLE erasures (
  user_no  INTEGER PRIMARY KEY,
  app_no   INTEGER NOT NULL,
  openid   TEXT NOT NULL,
  since    INTEGER NOT NULL,
  next_at  INTEGER NOT NULL
);
