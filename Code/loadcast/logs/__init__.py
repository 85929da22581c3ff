"""The log: events with fields, where they go, and how those of Spark's workers reach the driver."""
