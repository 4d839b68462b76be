"""What became of the faces: a visit each. Pure; needs no picture."""
