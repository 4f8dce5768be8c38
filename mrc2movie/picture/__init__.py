"""From a section to a frame: pure functions."""
