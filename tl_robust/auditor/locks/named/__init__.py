"""The locks, one file each."""
