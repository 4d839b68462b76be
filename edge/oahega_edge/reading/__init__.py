"""Faces of unrelated pictures, and the door for programs in Python."""
