"""What became of the faces: a visit each, and many visits together. Pure; needs no picture."""
