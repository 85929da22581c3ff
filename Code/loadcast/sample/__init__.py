"""Sample data: session logs as the original data is, seeded and reproducible."""
