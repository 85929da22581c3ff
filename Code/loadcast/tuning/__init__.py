"""Tuning without Spark: what is searched, what was found so far, and the search itself, told how trials are scored."""
