// Package schema holds the migrations, one folder a database.
package schema

import "embed"

// FS has the migrations of every database: sqlite/0001_init.sql and so on.
//
//go:embed sqlite/*.sql postgres/*.sql mysql/*.sql
var FS embed.FS
