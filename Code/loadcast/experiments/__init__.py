"""Experiments: where scripts run, and what is remembered of each run."""
