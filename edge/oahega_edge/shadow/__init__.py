"""A new bundle in the shadow of the one in use: both read the same faces, and the one in use decides."""
