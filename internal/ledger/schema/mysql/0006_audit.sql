-- +goose Up
-- What people and keys changed through the API. Written with the change itself.

CREATE TABLE IF NOT EXISTS audit (
  id         BINARY(16) PRIMARY KEY, -- ULID; its time is when it happened
  actor      VARCHAR(128) NOT NULL,  -- id of a key or member
  actor_name VARCHAR(128) NOT NULL,  -- then
  address    VARCHAR(128) NOT NULL,
  request_id VARCHAR(128) NOT NULL,
  action     VARCHAR(128) NOT NULL,  -- id of the API's operation
  app        VARCHAR(64) NOT NULL,   -- appid, or empty
  kind       VARCHAR(32) NOT NULL,   -- of the object
  object     VARCHAR(255) NOT NULL,
  changes    MEDIUMTEXT NOT NULL,    -- JSON
  INDEX audit_app (app, id),
  INDEX audit_actor (actor, id),
  INDEX audit_object (object, id)
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
