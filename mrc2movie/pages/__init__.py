"""What is said of many movies at once, from their records."""
