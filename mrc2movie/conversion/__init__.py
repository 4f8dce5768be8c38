"""One file to its products."""
