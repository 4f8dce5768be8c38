"""How files come to their names, whole, and what is kept of how they were made."""
