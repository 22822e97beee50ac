"""One file a pair that is more than two domains of a space; ``source-target`` needs none."""
