"""Metrics by name, one file each."""
