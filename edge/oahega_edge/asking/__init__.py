"""Asking people in view for something: one alone, and why it cannot be done."""
