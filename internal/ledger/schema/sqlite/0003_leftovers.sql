-- +goose Up
-- Messages that retention walked past because their time had not come: they are looked at again.
CREATE TABLE leftovers (
  id BLOB PRIMARY KEY -- of the message, ULID
) WITHOUT ROWID;
