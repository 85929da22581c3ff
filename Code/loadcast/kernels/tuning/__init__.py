"""Tuning: what is kept of a trial's folds, how surely trials differ, and which folds of which trials are to be done."""
