"""Pictures and their labels: reading, splitting, records, contact sheets."""
