-- +goose Up
-- How many messages came to which state, and what became of grants, by template and hour.
CREATE TABLE stats (
  template_no bigint NOT NULL,
  hour        bigint NOT NULL,    -- since 1970, UTC
  what        smallint NOT NULL,  -- 1 to 11: the state that messages came to; 12 submitted; of grants 13 granted 14 rejected 15 voided
  reason      text NOT NULL,      -- of a failure
  errcode     bigint NOT NULL,
  n           bigint NOT NULL,
  PRIMARY KEY (template_no, hour, what, reason, errcode)
);
CREATE INDEX stats_age ON stats (hour);

-- What transactions counted, until it is added to stats: nobody waits for a row of these.
CREATE TABLE stat_deltas (
  id          bytea PRIMARY KEY,  -- ULID
  template_no bigint NOT NULL,
  hour        bigint NOT NULL,
  what        smallint NOT NULL,
  reason      text NOT NULL,
  errcode     bigint NOT NULL,
  n           bigint NOT NULL
);
