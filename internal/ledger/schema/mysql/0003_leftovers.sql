-- +goose Up
-- Messages that retention walked past because their time had not come: they are looked at again.
CREATE TABLE IF NOT EXISTS leftovers (
  id BINARY(16) PRIMARY KEY -- of the message, ULID
) ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin;
