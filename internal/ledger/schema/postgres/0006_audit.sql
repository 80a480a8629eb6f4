-- +goose Up
-- What people and keys changed through the API. Written with the change itself.

CREATE TABLE audit (
  id         bytea PRIMARY KEY,    -- ULID; its time is when it happened
  actor      text NOT NULL,        -- id of a key or member
  actor_name text NOT NULL,        -- then
  address    text NOT NULL,
  request_id text NOT NULL,
  action     text NOT NULL,        -- id of the API's operation
  app        text NOT NULL,        -- appid, or empty
  kind       text NOT NULL,        -- of the object
  object     text NOT NULL,
  changes    text NOT NULL         -- JSON
);
CREATE INDEX audit_app ON audit (app, id);
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_object ON audit (object, id);
