"""Tables of results: written, read, compared, shared."""
