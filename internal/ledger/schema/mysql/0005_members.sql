-- +goose Up
-- People who sign in to the console (成员).
-- A change of the schema cannot be rolled back here: IF NOT EXISTS lets a broken one run again.

CREATE TABLE IF NOT EXISTS members (
  id           VARCHAR(64) PRIMARY KEY,
  name         VARCHAR(256) NOT NULL,
  folded       BINARY(32) NOT NULL UNIQUE, -- SHA-256 of the name without case and width
  role         VARCHAR(16) NOT NULL,
  hash         VARCHAR(256) NOT NULL,        -- argon2id with its parameters; empty: no password yet
  epoch        BIGINT NOT NULL,     -- grows when role or password change: sessions of an older one are void
  created_at   BIGINT NOT NULL,
  signed_in_at BIGINT NOT NULL,
  disabled_at  BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Who is signed in. The token itself is not kept.
CREATE TABLE IF NOT EXISTS member_sessions (
  hash       BINARY(32) PRIMARY KEY,     -- SHA-256 of the token
  member_id  VARCHAR(64) NOT NULL,
  data       BLOB NOT NULL,
  created_at BIGINT NOT NULL,
  seen_at    BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  INDEX member_sessions_age (expires_at),
  INDEX member_sessions_member (member_id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- One-time links: for the first owner, and for members who set a password.
CREATE TABLE IF NOT EXISTS setup_tokens (
  hash      BINARY(32) PRIMARY KEY,      -- SHA-256 of the token
  purpose   VARCHAR(16) NOT NULL,         -- first_run, reset
  member_id VARCHAR(64) NOT NULL,         -- empty: the first owner
  owner     BIGINT NOT NULL,      -- the process that made it
  until     BIGINT NOT NULL,
  INDEX setup_tokens_age (until)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- Passwords tried in a row for a name, whether a member has it or not.
CREATE TABLE IF NOT EXISTS sign_in_tries (
  name         BINARY(32) PRIMARY KEY,   -- SHA-256 of the folded name
  tries        BIGINT NOT NULL,
  locked_until BIGINT NOT NULL,
  until        BIGINT NOT NULL,   -- then it is forgotten
  INDEX sign_in_tries_age (until)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
