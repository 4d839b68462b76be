"""From a frame to decisions: pixels in, faces with expressions out. No adapter, no settings, no lock."""
