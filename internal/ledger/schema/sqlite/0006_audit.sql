-- +goose Up
-- What people and keys changed through the API. Written with the change itself.

CREATE TABLE audit (
  id         BLOB PRIMARY KEY,     -- ULID; its time is when it happened
  actor      TEXT NOT NULL,        -- id of a key or member
  actor_name TEXT NOT NULL,        -- then
  address    TEXT NOT NULL,
  request_id TEXT NOT NULL,
  action     TEXT NOT NULL,        -- id of the API's operation
  app        TEXT NOT NULL,        -- appid, or empty
  kind       TEXT NOT NULL,        -- of the object
  object     TEXT NOT NULL,
  changes    TEXT NOT NULL         -- JSON
);
CREATE INDEX audit_app ON audit (app, id);
CREATE INDEX audit_actor ON audit (actor, id);
CREATE INDEX audit_object ON audit (object, id);
