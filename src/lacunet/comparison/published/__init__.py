"""Published tables of scores and published lists of cases, as data."""
