"""Many segmented cases: a table and a page of a whole folder of results, and what failed."""
