"""Notices when faces no longer look as in the first days with a bundle. Only counts are kept."""
