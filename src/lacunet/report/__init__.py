"""A table or a case becomes a page that a person reads."""
