"""Two visits of one person: what has changed between them, and whether that is more than the error of measurement."""
