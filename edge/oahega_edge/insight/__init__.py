"""A page and tables from a store of the archive."""
