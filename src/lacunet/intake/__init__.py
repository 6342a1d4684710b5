"""The front door: scans as hospitals have them -> cases, and results back on the scans' own grids."""
