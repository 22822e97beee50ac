"""What is computed and kept: each kind of node knows its key, what it needs, and how it is made."""
