"""Run folders: artifacts, entries, freshness, the plan."""
