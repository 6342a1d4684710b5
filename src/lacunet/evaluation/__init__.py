"""From masks to scores: metrics, the table, its folder and its page."""
