-- +goose Up
-- People who sign in to the console (成员).

CREATE TABLE members (
  id           text PRIMARY KEY,
  name         text NOT NULL,
  folded       bytea NOT NULL UNIQUE, -- SHA-256 of the name without case and width
  role         text NOT NULL,
  hash         text NOT NULL,        -- argon2id with its parameters; empty: no password yet
  epoch        bigint NOT NULL,     -- grows when role or password change: sessions of an older one are void
  created_at   bigint NOT NULL,
  signed_in_at bigint NOT NULL,
  disabled_at  bigint NOT NULL
);

-- Who is signed in. The token itself is not kept.
CREATE TABLE member_sessions (
  hash       bytea PRIMARY KEY,     -- SHA-256 of the token
  member_id  text NOT NULL,
  data       bytea NOT NULL,
  created_at bigint NOT NULL,
  seen_at    bigint NOT NULL,
  expires_at bigint NOT NULL
);
CREATE INDEX member_sessions_age ON member_sessions (expires_at);
CREATE INDEX member_sessions_member ON member_sessions (member_id);

-- One-time links: for the first owner, and for members who set a password.
CREATE TABLE setup_tokens (
  hash      bytea PRIMARY KEY,      -- SHA-256 of the token
  purpose   text NOT NULL,         -- first_run, reset
  member_id text NOT NULL,         -- empty: the first owner
  owner     bigint NOT NULL,      -- the process that made it
  until     bigint NOT NULL
);
CREATE INDEX setup_tokens_age ON setup_tokens (until);

-- Passwords tried in a row for a name, whether a member has it or not.
CREATE TABLE sign_in_tries (
  name         bytea PRIMARY KEY,   -- SHA-256 of the folded name
  tries        bigint NOT NULL,
  locked_until bigint NOT NULL,
  until        bigint NOT NULL    -- then it is forgotten
);
CREATE INDEX sign_in_tries_age ON sign_in_tries (until);
