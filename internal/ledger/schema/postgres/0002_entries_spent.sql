-- +goose Up
-- How many grants the messages of a month used that retention has deleted since.
ALTER TABLE grant_entries ADD COLUMN spent integer NOT NULL DEFAULT 0;
