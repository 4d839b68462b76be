"""Samples on the operator's side: the key, opening what was fetched, and looking at it."""
