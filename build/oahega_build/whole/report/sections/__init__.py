"""A module for each section of the page: what it shows, for the template of the same name."""
