"""Evaluations side by side: aligned, tested, and shown beside published numbers."""
