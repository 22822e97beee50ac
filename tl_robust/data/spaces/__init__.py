"""One file a space."""
