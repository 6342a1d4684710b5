"""Disk -> case -> batch."""
