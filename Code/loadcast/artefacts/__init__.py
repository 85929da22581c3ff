"""What a run leaves behind beside its tables, typed: `info`, quality.json and metrics.json, each with a format version.

Each is read by one bounded reader, and what an older loadcast has written is migrated as it is read.
"""
