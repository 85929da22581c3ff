"""Families of models: what is fitted on Spark and saved, and what answers from the saved folder without Spark."""
