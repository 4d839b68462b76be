"""From runs to a bundle: `all`, the report, the bundle and its signature."""
