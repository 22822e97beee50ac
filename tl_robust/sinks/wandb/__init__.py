"""Weights & Biases, a view of what the store has."""
