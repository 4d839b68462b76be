"""Events on disk: an SQLite file, and what can still be read of a damaged one."""
