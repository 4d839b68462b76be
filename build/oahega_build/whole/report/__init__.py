"""The report: a whole run on one self-contained HTML page. Every figure is read from a run's files."""
