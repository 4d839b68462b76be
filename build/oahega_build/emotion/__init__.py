"""The emotion classifier's training: inputs, network, loss, export, calibration, evaluation."""
