"""Where events go. Each adapter is one file here; `port.py` is what they share."""
