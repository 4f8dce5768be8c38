"""Files that say what was found in a volume: points, models."""
