"""Fitting the embedded classifier's answers to one place with a few labelled faces."""
