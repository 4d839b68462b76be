"""One bundle beside another on the same faces: what is better, what is worse, and whether it may be used."""
