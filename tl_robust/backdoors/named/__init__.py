"""Backdoors by name, one file each."""
