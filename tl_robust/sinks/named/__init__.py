"""One file a sink: where the results of a bench are shown."""
