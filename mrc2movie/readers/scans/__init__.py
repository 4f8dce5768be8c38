"""Scans: stacks of patterns, of which other files or the user tell where each was recorded."""
