-- +goose Up
-- People who sign in to the console (成员).

CREATE TABLE members (
  id           TEXT PRIMARY KEY,
  name         TEXT NOT NULL,
  folded       BLOB NOT NULL UNIQUE, -- SHA-256 of the name without case and width
  role         TEXT NOT NULL,
  hash         TEXT NOT NULL,        -- argon2id with its parameters; empty: no password yet
  epoch        INTEGER NOT NULL,     -- grows when role or password change: sessions of an older one are void
  created_at   INTEGER NOT NULL,
  signed_in_at INTEGER NOT NULL,
  disabled_at  INTEGER NOT NULL
) WITHOUT ROWID;

-- Who is signed in. The token itself is not kept.
CREATE TABLE member_sessions (
  hash       BLOB PRIMARY KEY,     -- SHA-256 of the token
  member_id  TEXT NOT NULL,
  data       BLOB NOT NULL,
  created_at INTEGER NOT NULL,
  seen_at    INTEGER NOT NULL,
  expires_at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX member_sessions_age ON member_sessions (expires_at);
CREATE INDEX member_sessions_member ON member_sessions (member_id);

-- One-time links: for the first owner, and for members who set a password.
CREATE TABLE setup_tokens (
  hash      BLOB PRIMARY KEY,      -- SHA-256 of the token
  purpose   TEXT NOT NULL,         -- first_run, reset
  member_id TEXT NOT NULL,         -- empty: the first owner
  owner     INTEGER NOT NULL,      -- the process that made it
  until     INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX setup_tokens_age ON setup_tokens (until);

-- Passwords tried in a row for a name, whether a member has it or not.
CREATE TABLE sign_in_tries (
  name         BLOB PRIMARY KEY,   -- SHA-256 of the folded name
  tries        INTEGER NOT NULL,
  locked_until INTEGER NOT NULL,
  until        INTEGER NOT NULL    -- then it is forgotten
) WITHOUT ROWID;
CREATE INDEX sign_in_tries_age ON sign_in_tries (until);
