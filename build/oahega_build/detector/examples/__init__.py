"""Training examples of the detector: composed, pasted, covered and fed to the network."""
