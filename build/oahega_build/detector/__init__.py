"""The detector's training: inputs, loss, export, scores, evaluation."""
