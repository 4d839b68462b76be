"""What all devices publish, in a store that its user owns: each event once."""
