"""A classifier for expressions of one's own, from a few pictures, on the features of an embedded model."""
