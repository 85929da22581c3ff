"""Scripts submitted to targets, and what became of them: snapshots, the keeper on a target, runs found again."""
