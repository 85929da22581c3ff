"""Backtests: what a model, refitted on what was known at earlier times, would have scored on the days after each.

Here are the periods, the fleet's loads, what is counted of each refit, and what follows from all counts together.
"""
