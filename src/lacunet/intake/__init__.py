"""The front door: scans as hospitals have them."""
