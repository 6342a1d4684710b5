"""Masks that somebody drew or corrected: measured as the model's, and compared with them."""
