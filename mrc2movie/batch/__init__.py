"""Many files: planned, decided, run, reported."""
