"""Searches and studies: tuning, pruning, distillation, feature projections."""
