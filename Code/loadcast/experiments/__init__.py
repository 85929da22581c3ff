"""Experiments: runs of scripts on targets, and what is remembered of them."""
