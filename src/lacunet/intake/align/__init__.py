"""Bringing scans onto one grid: registration, skull stripping, and the judgement of both."""
