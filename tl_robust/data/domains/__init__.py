"""One file a domain."""
