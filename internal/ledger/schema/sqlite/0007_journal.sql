-- +goose Up
-- Messages that went straight to their senders, and what became of them, before they are written
-- into messages: a row a commit. Emptied whenever somebody asks for messages.

CREATE TABLE journal (
  no   INTEGER PRIMARY KEY,
  body BLOB NOT NULL
);
