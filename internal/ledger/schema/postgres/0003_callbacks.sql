-- +goose Up
-- WeChat's event pushes (消息推送).

CREATE TABLE callback_keys (
  app_no         bigint PRIMARY KEY,
  token          bytea NOT NULL,     -- sealed
  aes_key        bytea,              -- sealed; NULL: plain pushes only
  previous_key   bytea,              -- sealed; fits until previous_until
  previous_until bigint NOT NULL,
  forward_to     text NOT NULL,
  verified_at    bigint NOT NULL,
  updated_at     bigint NOT NULL
);

-- As they came. A repeat finds its mark and changes nothing.
CREATE TABLE callbacks (
  id           bytea PRIMARY KEY,   -- ULID
  app_no       bigint NOT NULL,
  mark         bytea NOT NULL,      -- of the event, its user, time and items
  event        text NOT NULL,
  openid       text NOT NULL,
  encrypted    smallint NOT NULL,
  items        text NOT NULL,       -- JSON
  raw          bytea NOT NULL,
  sent_at      bigint NOT NULL,
  received_at  bigint NOT NULL,
  due_at       bigint,              -- when it is applied; NULL: it has been
  tries        smallint NOT NULL,
  notes        text NOT NULL,       -- JSON
  processed_at bigint NOT NULL,
  UNIQUE (app_no, mark)
);
CREATE INDEX callbacks_waiting ON callbacks (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX callbacks_list ON callbacks (app_no, id);
CREATE INDEX callbacks_user ON callbacks (openid, id);

-- Uncertain messages that an event resolved though nothing named them: an answer that
-- brings its msgid later belongs to another one.
CREATE TABLE evidence (
  app_no      bigint NOT NULL,
  msgid       bigint NOT NULL,
  seq         bigint NOT NULL,
  callback_id bytea NOT NULL,
  recorded_at bigint NOT NULL,
  PRIMARY KEY (app_no, msgid)
);
CREATE INDEX evidence_age ON evidence (recorded_at);

-- Calls of the callback URL that were refused: the last hundred of each app.
CREATE TABLE callback_rejections (
  id     bytea PRIMARY KEY,         -- ULID
  app_no bigint NOT NULL,
  at     bigint NOT NULL,
  reason text NOT NULL,
  detail text NOT NULL,
  remote text NOT NULL
);
CREATE INDEX callback_rejections_list ON callback_rejections (app_no, id);

-- What a scene of the mini program asks for, and how many grants are wanted in stock.
CREATE TABLE scenes (
  app_no     bigint NOT NULL,
  name       text NOT NULL,
  templates  text NOT NULL,         -- JSON
  updated_at bigint NOT NULL,
  PRIMARY KEY (app_no, name)
);

-- Phones that have logged in. The token itself is not kept.
CREATE TABLE mp_sessions (
  hash       bytea PRIMARY KEY,   -- SHA-256 of the token
  app_no     bigint NOT NULL,
  user_no    bigint NOT NULL,
  expires_at bigint NOT NULL
);
CREATE INDEX mp_sessions_age ON mp_sessions (expires_at);
CREATE INDEX mp_sessions_user ON mp_sessions (user_no);

-- Users who are to be forgotten, until nothing of theirs is left.
CREATE TABLE erasures (
  user_no  bigint PRIMARY KEY,
  app_no   bigint NOT NULL,
  openid   text NOT NULL,
  since    bigint NOT NULL,
  next_at  bigint NOT NULL
);
