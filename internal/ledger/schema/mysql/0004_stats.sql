-- +goose Up
-- How many messages came to which state, and what became of grants, by template and hour.
CREATE TABLE IF NOT EXISTS stats (
  template_no BIGINT NOT NULL,
  hour        BIGINT NOT NULL,       -- since 1970, UTC
  what        SMALLINT NOT NULL,     -- 1 to 11: the state that messages came to; 12 submitted; of grants 13 granted 14 rejected 15 voided
  reason      VARCHAR(64) NOT NULL,  -- of a failure
  errcode     BIGINT NOT NULL,
  n           BIGINT NOT NULL,
  PRIMARY KEY (template_no, hour, what, reason, errcode),
  INDEX stats_age (hour)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;

-- What transactions counted, until it is added to stats: nobody waits for a row of these.
CREATE TABLE IF NOT EXISTS stat_deltas (
  id          BINARY(16) PRIMARY KEY,  -- ULID
  template_no BIGINT NOT NULL,
  hour        BIGINT NOT NULL,
  what        SMALLINT NOT NULL,
  reason      VARCHAR(64) NOT NULL,
  errcode     BIGINT NOT NULL,
  n           BIGINT NOT NULL
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
